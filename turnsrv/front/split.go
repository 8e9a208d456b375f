package front

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is what a connection is.
type Kind int

const (
	Plain Kind = iota // not encrypted, whatever it speaks
	TURN              // STUN or TURN in TLS
	HTTP              // HTTP/1.1 or a WebSocket in TLS
)

// Config says how connections are sorted. The zero value takes all as Plain.
type Config struct {
	// TLS, if not nil, is spoken with clients that begin with a TLS handshake.
	// Its NextProtos are chosen by the kinds that are wanted: stun.turn and
	// stun.nat-discovery (RFC 7443), http/1.1.
	TLS *tls.Config
	// TrustedProxies are the addresses whose PROXY headers (version 1 and 2) are
	// believed: the client that such a header names is the RemoteAddr of the
	// connection. A proxy in the list must send a header on every connection that
	// it forwards as it is: where it sends none, the client behind it could send
	// one. From another address a header ends the connection.
	TrustedProxies []netip.Prefix
	// Limits bound the connections of some kinds that one client may have open.
	Limits map[Kind]Limit
	// Log gets Debug for connections that are refused, Info once a minute for
	// those that are over a limit, and Error when the listener cannot accept.
	// Nil discards.
	Log *slog.Logger
}

// Limit bounds the open connections of one client: one IPv4 address or one
// IPv6 /64 network. Loopback addresses and trusted proxies, which speak for
// many, may have any number.
type Limit struct {
	PerClient int    // 0 = any number
	Setting   string // that an operator changes it with
	Answer    []byte // sent before a connection over the limit is closed
}

// Splitter sorts the connections of a listener.
type Splitter struct {
	listener net.Listener
	Config
	queues  map[Kind]*queue
	pending pending
	open    map[Kind]*census // of the kinds with a limit

	crowded atomic.Int64 // when a client over its limit was logged last, Unix seconds

	mu     sync.Mutex
	conns  map[net.Conn]struct{} // being sorted
	closed bool
	served int // queues that are open
	done   chan struct{}
	wg     sync.WaitGroup
}

// Split begins to accept the connections of l. Those that are not of the kinds
// wanted are closed.
func Split(l net.Listener, c Config, wanted ...Kind) *Splitter {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Splitter{
		listener: l, Config: c, served: len(wanted), open: make(map[Kind]*census), done: make(chan struct{}),
		queues: make(map[Kind]*queue), conns: make(map[net.Conn]struct{}),
	}
	for _, k := range wanted {
		s.queues[k] = newQueue(l.Addr(), 0, s.left)
		if c.Limits[k].PerClient > 0 {
			s.open[k] = new(census)
		}
	}
	if s.queues[TURN] == nil && s.queues[HTTP] == nil {
		s.TLS = nil
	}
	if s.TLS != nil {
		s.TLS = s.TLS.Clone()
		s.TLS.NextProtos = nil
		if s.queues[TURN] != nil {
			s.TLS.NextProtos = append(s.TLS.NextProtos, "stun.turn", "stun.nat-discovery")
		}
		if s.queues[HTTP] != nil {
			s.TLS.NextProtos = append(s.TLS.NextProtos, "http/1.1")
		}
	}
	s.wg.Go(s.accept)
	return s
}

// Listener returns the listener of one of the kinds that were wanted. Its
// connections have no deadlines. When all listeners are closed, the splitter is.
func (s *Splitter) Listener(k Kind) net.Listener { return s.queues[k] }

// left closes the listener when the last queue was closed.
func (s *Splitter) left() error {
	s.mu.Lock()
	s.served--
	last := s.served == 0
	s.mu.Unlock()
	if last {
		return s.shut()
	}
	return nil
}

// Close closes the listener, its queues, and the connections that are not
// sorted yet, and waits for their ends. Connections that were handed on stay.
func (s *Splitter) Close() error {
	err := s.shut()
	for _, q := range s.queues {
		q.Close()
	}
	s.wg.Wait()
	return err
}

func (s *Splitter) shut() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.done)
	for c := range s.conns {
		c.Close()
	}
	return s.listener.Close()
}

// accept takes connections until the listener is closed. A failed accept, as
// when descriptors run out, is tried again after a pause that grows to a second.
func (s *Splitter) accept() {
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		conn, err := s.listener.Accept()
		if err == nil {
			pause = shortest
			s.begin(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s.Log.Error("accept connection failed, trying again", "listener", s.listener.Addr(), "error", err, "pause", pause)
		select {
		case <-time.After(pause):
			pause = min(2*pause, longest)
		case <-s.done:
			return
		}
	}
}

// begin sorts conn on a goroutine of its own, if there is room for it.
func (s *Splitter) begin(conn net.Conn) {
	from := addrOf(conn.RemoteAddr()).Addr()
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	done, ok := s.pending.add(from, s.trusts(from), func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if !ok {
		conn.Close()
		return
	}
	s.mu.Lock()
	if s.closed {
		conn.Close()
	}
	s.conns[conn] = struct{}{}
	s.mu.Unlock()
	s.wg.Go(func() {
		kind, sorted, err := s.sort(conn)
		done()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		if err == nil {
			err = s.hand(kind, sorted)
		}
		if err != nil {
			if sorted != nil {
				sorted.uncount()
			}
			conn.Close()
			s.Log.Debug("connection refused", "client", from, "listener", s.listener.Addr(), "error", err)
		}
	})
}

// hand gives a connection to who accepts its kind.
func (s *Splitter) hand(k Kind, c *conn) error {
	q := s.queues[k]
	if q == nil {
		return errors.New("nothing serves what it speaks")
	}
	if err := s.count(k, c); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Time{})
	late := time.NewTimer(handshakeTimeout)
	defer late.Stop()
	select {
	case q.conns <- c:
		return nil
	case <-q.done:
		return net.ErrClosed
	case <-late.C:
		return errors.New("it was not accepted in time")
	}
}

// count counts c among its client's until it is closed, or refuses it.
func (s *Splitter) count(k Kind, c *conn) (err error) {
	client := addrOf(c.remote).Addr()
	if s.open[k] == nil || client.IsLoopback() || s.trusts(client) {
		return nil
	}
	limit, ok := s.Limits[k], false
	if c.leave, ok = s.open[k].enter(client, limit.PerClient); ok {
		return nil
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write(limit.Answer)
	now, last := time.Now().Unix(), s.crowded.Load()
	if now-last >= 60 && s.crowded.CompareAndSwap(last, now) {
		s.Log.Info("connections refused: a client has too many; this is logged once a minute",
			"client", client, "listener", s.listener.Addr(), "limit", limit.PerClient, "setting", limit.Setting)
	}
	return fmt.Errorf("its address has %d connections, as many as %s lets it", limit.PerClient, limit.Setting)
}

func (s *Splitter) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(s.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
