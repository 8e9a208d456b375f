package turnsrv

import (
	"bufio"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	maxStreams    = 8192 // connections of one listener
	streamBacklog = 256  // frames read and not yet handled, all connections together
	streamQueue   = 64   // frames waiting to be written to one client
)

// streams is a packet view of a listener: every frame of every
// connection comes out of ReadFrom as one datagram from its client, and WriteTo
// sends a frame to one client. So requests on streams are handled like those on
// UDP: one at a time, whole, and checked by the same code.
//
// A client that reads too slowly loses frames, as it would on UDP, and is never
// waited for.
type streams struct {
	listener Listener
	log      *slog.Logger
	closed   func(client netip.AddrPort) // called when a connection has ended

	frames chan frame
	done   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup

	clients      *counters[netip.Prefix] // connections by client address, of all listeners
	maxPerClient int

	mu    sync.RWMutex
	conns map[netip.AddrPort]*stream
}

// frame is one message of one client, in a buffer of the pool.
type frame struct {
	from netip.AddrPort
	size int
	buf  *[maxFrame]byte
}

var frameBuffers = sync.Pool{New: func() any { return new([maxFrame]byte) }}

func newStreams(listener Listener, clients *counters[netip.Prefix], maxPerClient int, log *slog.Logger, closed func(netip.AddrPort)) *streams {
	s := &streams{
		listener: listener,
		log:      log,
		closed:   closed,
		frames:   make(chan frame, streamBacklog),
		done:     make(chan struct{}),
		conns:    make(map[netip.AddrPort]*stream),
		clients:  clients, maxPerClient: maxPerClient,
	}
	s.wg.Go(s.accept)
	return s
}

// accept serves connections until the listener is closed. A failed accept, as
// when descriptors run out, is tried again after a pause that grows to a second.
func (s *streams) accept() {
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		conn, err := s.listener.Accept()
		if err == nil {
			pause = shortest
			s.serve(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s.log.Error("accept connection failed, trying again", "listener", s.listener.Addr(), "error", err, "pause", pause)
		select {
		case <-time.After(pause):
			pause = min(2*pause, longest)
		case <-s.done:
			return
		}
	}
}

// serve begins to serve conn, or closes it if there are too many.
func (s *streams) serve(conn net.Conn) {
	c := &stream{Conn: conn, client: addrPort(conn.RemoteAddr()), queue: make(chan frame, streamQueue), done: make(chan struct{})}
	if !s.add(c) {
		conn.Close()
		return
	}
	read := s.read
	if s.listener.Transport == "dtls" {
		read = s.readMessages
	}
	s.wg.Go(func() {
		err := read(c)
		s.remove(c)
		s.log.Debug("connection ended", "client", c.client, "error", err)
		s.closed(c.client)
	})
	s.wg.Go(c.write)
}

func (s *streams) add(c *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.conns[c.client]; twice || len(s.conns) >= maxStreams || !c.client.IsValid() {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
	}
	// A datagram proves no address before its first message has come through the
	// handshake, so it must not use up what that address may have.
	if s.listener.Transport != "dtls" && !s.countIn(c) {
		return false
	}
	s.conns[c.client] = c
	return true
}

// countIn counts a connection among those of its client's address, if that may
// have one more.
func (s *streams) countIn(c *stream) bool {
	c.counted = s.clients.add(network(c.client.Addr()), s.maxPerClient)
	return c.counted
}

func (s *streams) remove(c *stream) {
	defer c.end() // last: then its client may come again by the same address
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c.client)
	if c.counted {
		s.clients.remove(network(c.client.Addr()))
	}
}

func (s *streams) conn(client netip.AddrPort) *stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.conns[client]
}

// count returns how many connections are open.
func (s *streams) count() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.conns)
}

// read hands on one frame after the other until the connection fails or sends
// something that is none.
func (s *streams) read(c *stream) error {
	r := bufio.NewReaderSize(c, 2*maxFrame)
	for first := true; ; first = false {
		c.await(first)
		head, err := r.Peek(channelDataHeader)
		if err != nil {
			return err
		}
		size, err := frameSize(head)
		if err != nil {
			return err
		}
		b, err := r.Peek(size)
		if err != nil {
			return err
		}
		if err := checkFrame(b, first); err != nil {
			return err
		}
		f := frame{from: c.client, size: size, buf: frameBuffers.Get().(*[maxFrame]byte)}
		copy(f.buf[:], b)
		if _, err := r.Discard(size); err != nil {
			return err
		}
		if err := s.hand(f); err != nil {
			return err
		}
	}
}

// hand passes a frame on, when its turn comes.
func (s *streams) hand(f frame) error {
	select {
	case s.frames <- f:
		return nil
	case <-s.done:
		return net.ErrClosed
	}
}

// readMessages is read for a connection that keeps messages apart. What is no
// frame is left to the gate, as on UDP.
func (s *streams) readMessages(c *stream) error {
	for first := true; ; first = false {
		c.await(first)
		f := frame{from: c.client, buf: frameBuffers.Get().(*[maxFrame]byte)}
		var err error
		if f.size, err = c.Read(f.buf[:]); err != nil {
			return err
		}
		if first && !s.countIn(c) {
			return errCrowd
		}
		if err := s.hand(f); err != nil {
			return err
		}
	}
}

// hold tells that client has an allocation, or has it no more: with one, its
// connection has no idle deadline. It reports whether the connection is there.
func (s *streams) hold(client netip.AddrPort, allocated bool) bool {
	c := s.conn(client)
	if c != nil {
		c.hold(allocated)
	}
	return c != nil
}

// ReadFromUDPAddrPort returns the next frame of any connection. It fails only
// when the listener has been closed.
func (s *streams) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	select {
	case f := <-s.frames:
		n := copy(p, f.buf[:f.size])
		frameBuffers.Put(f.buf)
		return n, f.from, nil
	case <-s.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// WriteToUDPAddrPort queues p for one client. Without a connection or with a
// full queue it is lost.
func (s *streams) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	c := s.conn(to)
	if c == nil || len(p) > maxFrame {
		return len(p), nil
	}
	f := frame{size: len(p), buf: frameBuffers.Get().(*[maxFrame]byte)}
	copy(f.buf[:], p)
	select {
	case c.queue <- f:
	default:
		frameBuffers.Put(f.buf)
	}
	return len(p), nil
}

// ReadFrom and WriteTo are the same for those who want addresses as pointers.

func (s *streams) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromUDPAddrPort(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.TCPAddrFromAddrPort(from), nil
}

func (s *streams) WriteTo(p []byte, to net.Addr) (int, error) {
	return s.WriteToUDPAddrPort(p, addrPort(to))
}

// drain stops accepting connections; those that are there stay.
func (s *streams) drain() { _ = s.listener.Close() }

// Close closes the listener and every connection, and waits for them.
func (s *streams) Close() error {
	var err error
	s.once.Do(func() {
		if err = s.listener.Close(); errors.Is(err, net.ErrClosed) {
			err = nil
		}
		s.mu.Lock()
		close(s.done)
		for _, c := range s.conns {
			c.end()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return err
}

// Local returns the address that a client has connected to, which that of the
// listener need not tell, or the zero AddrPort.
func (s *streams) Local(client netip.AddrPort) netip.AddrPort {
	if c := s.conn(client); c != nil {
		return addrPort(c.LocalAddr())
	}
	return netip.AddrPort{}
}

func (s *streams) LocalAddr() net.Addr              { return s.listener.Addr() }
func (s *streams) SetDeadline(time.Time) error      { return nil }
func (s *streams) SetReadDeadline(time.Time) error  { return nil }
func (s *streams) SetWriteDeadline(time.Time) error { return nil }
