package front

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/transport/v4/deadline"
)

const (
	dtlsBacklog = 64      // clients that wait to be accepted
	dtlsQueue   = 128     // datagrams that wait for one client's reader; more are lost
	maxDatagram = 1 << 16 // bytes
)

// dtlsListener keeps the datagrams of one socket apart by their clients.
type dtlsListener struct {
	*queue
	socket  net.PacketConn
	options []dtls.ServerOption
	log     *slog.Logger
	admit   func(netip.Addr) bool
	pending pending

	mu       sync.Mutex
	clients  map[netip.AddrPort]*association
	draining bool
}

// DTLS serves DTLS 1.2 (RFC 7350) on a socket, with cookies, so that nobody
// can begin a handshake from an address that is not theirs. Each connection's
// Read returns one message; the first does the handshake. Admit is asked whether
// an address may begin another handshake; nil lets all. Nil discards the log.
//
// Close ends Accept; the socket is closed when the last connection is.
func DTLS(socket net.PacketConn, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), admit func(netip.Addr) bool, log *slog.Logger) net.Listener {
	l := newDTLS(socket, certificate, log)
	if admit != nil {
		l.admit = admit
	}
	go l.read()
	return l
}

func newDTLS(socket net.PacketConn, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), log *slog.Logger) *dtlsListener {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &dtlsListener{
		socket: socket, log: log, clients: make(map[netip.AddrPort]*association),
		admit: func(netip.Addr) bool { return true }, pending: pending{max: maxPendingDTLS},
	}
	l.queue = newQueue(socket.LocalAddr(), dtlsBacklog, l.drain)
	l.options = []dtls.ServerOption{
		dtls.WithGetCertificate(func(h *dtls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificate(&tls.ClientHelloInfo{ServerName: h.ServerName})
		}),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithLoggerFactory(&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}),
	}
	return l
}

// drain takes no new clients, and closes the socket if there are no old ones.
func (l *dtlsListener) drain() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	for { // what was not accepted
		select {
		case c := <-l.conns:
			a := c.(*dtlsConn).association
			delete(l.clients, a.client)
			go c.Close()
			continue
		default:
		}
		break
	}
	if len(l.clients) > 0 {
		return nil
	}
	return l.socket.Close()
}

// read hands each datagram to its client's connection, until the socket is closed.
func (l *dtlsListener) read() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := l.socket.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // an ICMP message about another datagram, or memory is short
			l.log.Debug("read DTLS datagram failed", "socket", l.Addr(), "error", err)
			continue
		}
		if a := l.association(from, buf[:n]); a != nil && a.guard.admits(buf[:n]) {
			select {
			case a.datagrams <- append([]byte(nil), buf[:n]...):
			default:
			}
		}
	}
}

// association finds whose datagram b is. One that begins a handshake begins an
// association; others from unknown clients are nobody's.
func (l *dtlsListener) association(from net.Addr, b []byte) *association {
	client := addrOf(from)
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.clients[client]; a != nil {
		return a
	}
	if l.draining || !isClientHello(b) || !l.admit(client.Addr()) {
		return nil
	}
	a := &association{listener: l, client: client, from: from, datagrams: make(chan []byte, dtlsQueue), closed: make(chan struct{}), deadline: deadline.New()}
	var ok bool
	if a.done, ok = l.pending.add(client.Addr(), false, func() { go a.Close() }); !ok {
		return nil
	}
	c, err := dtls.ServerWithOptions(a, from, l.options...)
	if err != nil { // only if the options are wrong
		a.done()
		l.log.Error("begin DTLS association failed", "socket", l.Addr(), "error", err)
		return nil
	}
	select {
	case l.conns <- &dtlsConn{Conn: c, association: a}:
		l.clients[client] = a
		return a
	default:
		a.done()
		return nil
	}
}

// association is what one client sends, and what is sent to it: the socket as
// one connection of it sees it.
type association struct {
	listener  *dtlsListener
	client    netip.AddrPort
	from      net.Addr
	datagrams chan []byte
	guard     recordGuard
	deadline  *deadline.Deadline
	closed    chan struct{}
	once      sync.Once
	done      func() // is no longer pending
}

func (a *association) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case <-a.deadline.Done():
		return 0, nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case b := <-a.datagrams:
		return copy(p, b), a.from, nil
	case <-a.closed:
		return 0, nil, net.ErrClosed
	case <-a.deadline.Done():
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (a *association) WriteTo(p []byte, to net.Addr) (int, error) {
	return a.listener.socket.WriteTo(p, to)
}

// Close forgets the client, and closes the socket behind the last one.
func (a *association) Close() (err error) {
	a.once.Do(func() {
		close(a.closed)
		a.done()
		l := a.listener
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.clients[a.client] == a {
			delete(l.clients, a.client)
		}
		if l.draining && len(l.clients) == 0 {
			err = l.socket.Close()
		}
	})
	return err
}

func (a *association) LocalAddr() net.Addr                { return a.listener.Addr() }
func (a *association) SetDeadline(t time.Time) error      { return a.SetReadDeadline(t) }
func (a *association) SetReadDeadline(t time.Time) error  { a.deadline.Set(t); return nil }
func (a *association) SetWriteDeadline(_ time.Time) error { return nil } // a socket for datagrams does not block

// dtlsConn is a connection that does its handshake in the first Read.
type dtlsConn struct {
	*dtls.Conn
	association *association
	once        sync.Once
	err         error // of the handshake
}

func (c *dtlsConn) Read(p []byte) (int, error) {
	c.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
		defer cancel()
		if c.err = c.HandshakeContext(ctx); c.err == nil {
			c.association.guard.established.Store(true)
		}
		c.association.done()
	})
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(p)
}

// Close ends the association, also one that has not begun its handshake.
func (c *dtlsConn) Close() error { return errors.Join(c.Conn.Close(), c.association.Close()) }
