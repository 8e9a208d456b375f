package turnsrv

import (
	"bytes"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// memory is a server whose sockets are in memory: clients have whatever
// addresses they like, and what relays send is kept.
type memory struct {
	*fixture
	t        testing.TB
	socket   *memorySocket
	sentinel []byte
	clients  int // newcomers so far

	mu   sync.Mutex
	sent []netip.AddrPort // where relays have sent something
}

// Where the sentinel comes from, whose answer comes after all others.
var sentinelAddr = netip.MustParseAddrPort("192.0.2.99:9")

func inMemory(t testing.TB, change func(*Config)) *memory {
	m := &memory{t: t, socket: newMemorySocket(nil)}
	m.sentinel = stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw
	m.fixture = start(t, func(c *Config) {
		c.PacketConns = append(c.PacketConns, m.socket)
		listen := func(uint16) (net.PacketConn, error) { return newMemorySocket(m.note), nil }
		c.IPv4 = &Relays{Advertise: func() netip.Addr { return netip.MustParseAddr("203.0.113.1") }, Listen: listen}
		c.IPv6 = &Relays{Advertise: func() netip.Addr { return netip.MustParseAddr("2001:db8::1") }, Listen: listen}
		c.Limits = &Limits{Permissions: 64, Channels: 64}
		if change != nil {
			change(c)
		}
	})
	return m
}

func (m *memory) note(to netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent = append(m.sent, to)
}

// relayed returns where relays have sent something since it was asked last.
func (m *memory) relayed() []netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	sent := m.sent
	m.sent = nil
	return sent
}

// exchange sends b from a client and returns what that made the server send to
// clients.
func (m *memory) exchange(b []byte, from netip.AddrPort) (answers []datagram) {
	m.t.Helper()
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	todo := []datagram{{b, from}, {m.sentinel, sentinelAddr}}
	for {
		in := m.socket.in
		var next datagram
		if len(todo) > 0 {
			next = todo[0]
		} else {
			in = nil
		}
		select {
		case in <- next:
			todo = todo[1:]
		case d := <-m.socket.out:
			if d.peer == sentinelAddr && bytes.Equal(d.b[8:20], m.sentinel[8:20]) {
				return answers
			}
			answers = append(answers, d)
		case <-late.C:
			stacks := make([]byte, 1<<16)
			m.t.Fatalf("the gate no longer answers after %x from %v\n%s", b, from, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// signer returns one who builds requests with right credentials and a nonce
// of the socket.
func (m *memory) signer() *wire {
	m.t.Helper()
	w := &wire{t: m.t, realm: DefaultRealm}
	w.username, w.password = m.credential(m.t, 24*time.Hour)
	request := w.build(stun.NewType(stun.MethodAllocate, stun.ClassRequest))
	w.nonce = value1(m.t, m.one(request.Raw, netip.MustParseAddrPort("192.0.2.98:9")), stun.AttrNonce)
	return w
}

func value1(t testing.TB, m *stun.Message, a stun.AttrType) string {
	t.Helper()
	v, err := m.Get(a)
	if err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	return string(v)
}

// one is exchange for what has exactly one answer.
func (m *memory) one(b []byte, from netip.AddrPort) *stun.Message {
	m.t.Helper()
	answers := m.exchange(b, from)
	if len(answers) != 1 {
		m.t.Fatalf("%x: got %d answers, want 1", b, len(answers))
	}
	return m.answer(b, from, answers[0])
}

// answer checks that d is a proper answer to request b, and decodes it.
func (m *memory) answer(b []byte, from netip.AddrPort, d datagram) *stun.Message {
	m.t.Helper()
	answer := &stun.Message{Raw: d.b}
	err := answer.Decode()
	class := answer.Type.Class
	switch {
	case err != nil || len(d.b) != stunHeader+int(answer.Length):
		m.t.Fatalf("%x: got the answer %x, which is none: %v", b, d.b, err)
	case d.peer != from || !bytes.Equal(d.b[4:20], b[4:20]):
		m.t.Fatalf("%x from %v: got the answer %x to %v", b, from, d.b, d.peer)
	case class != stun.ClassSuccessResponse && class != stun.ClassErrorResponse || class == stun.ClassErrorResponse && code(answer) == 0:
		m.t.Fatalf("%x: got the answer %v, code %d", b, answer, code(answer))
	}
	return answer
}

// call sends a signed request and returns the answer.
func (m *memory) call(w *wire, from netip.AddrPort, method stun.Method, setters ...stun.Setter) *stun.Message {
	m.t.Helper()
	all := slices.Concat(setters, w.credentials(), []stun.Setter{w.key()})
	return m.one(w.build(stun.NewType(method, stun.ClassRequest), all...).Raw, from)
}

// dropReservations gives back the ports that are set aside.
func (m *memory) dropReservations() {
	m.reservations.mu.Lock()
	tokens := slices.Collect(maps.Keys(m.reservations.held))
	m.reservations.mu.Unlock()
	for _, token := range tokens {
		if v := m.reservations.claim(token); v != nil {
			m.relays(v.family).ports.release(v.port)
		}
	}
}

type datagram struct {
	b    []byte
	peer netip.AddrPort
}

// memorySocket is a socket whose datagrams are handed in and taken out.
type memorySocket struct {
	in, out chan datagram
	note    func(to netip.AddrPort) // instead of out
	done    chan struct{}
	once    sync.Once
}

func newMemorySocket(note func(netip.AddrPort)) *memorySocket {
	return &memorySocket{in: make(chan datagram), out: make(chan datagram, 1024), note: note, done: make(chan struct{})}
}

func (s *memorySocket) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-s.in:
		return copy(p, d.b), d.peer, nil
	case <-s.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (s *memorySocket) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	if s.note != nil {
		s.note(to)
		return len(p), nil
	}
	select {
	case s.out <- datagram{bytes.Clone(p), to}:
	default: // full: lost, as on any network
	}
	return len(p), nil
}

func (s *memorySocket) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromUDPAddrPort(p)
	return n, net.UDPAddrFromAddrPort(from), err
}

func (s *memorySocket) WriteTo(p []byte, to net.Addr) (int, error) {
	return s.WriteToUDPAddrPort(p, addrPort(to))
}

func (s *memorySocket) Close() error { s.once.Do(func() { close(s.done) }); return nil }
func (s *memorySocket) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: net.IPv4(203, 0, 113, 1), Port: 3478}
}
func (s *memorySocket) SetDeadline(time.Time) error      { return nil }
func (s *memorySocket) SetReadDeadline(time.Time) error  { return nil }
func (s *memorySocket) SetWriteDeadline(time.Time) error { return nil }
