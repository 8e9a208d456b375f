package turnsrv

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// sink is a socket that takes everything and gives nothing.
type sink struct {
	net.PacketConn
	sent int
	last []byte
}

func (s *sink) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, net.ErrClosed
}

func (s *sink) WriteToUDPAddrPort(p []byte, _ netip.AddrPort) (int, error) {
	s.sent++
	s.last = p
	return len(p), nil
}

var (
	somePeer   = netip.MustParseAddrPort("8.8.8.8:5000")
	someClient = netip.MustParseAddrPort("203.0.113.7:40000")
)

// path is a session between two sinks, with a channel to somePeer.
func path() (s *session, g *gate, toClient, toPeers *sink) {
	toClient, toPeers = new(sink), new(sink)
	r := &relay{socket: toPeers, peers: &Peers{Relays: PortRange{49160, 49359}}, inside: newInside(PortRange{49160, 49359})}
	g = &gate{socket: toClient, sessions: map[netip.AddrPort]*session{}}
	s = &session{gate: g, relay: r, Session: Session{Client: someClient, Relay: netip.MustParseAddrPort("198.41.0.4:49160")}}
	r.session = s
	r.inside.enter(s)
	s.channels.bind(0x4000, somePeer)
	s.permissions.set(somePeer.Addr().AsSlice(), true)
	g.sessions[someClient] = s
	return s, g, toClient, toPeers
}

func channelData(n int) []byte {
	return append([]byte{0x40, 0, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{'x'}, n)...)
}

func TestDataPathDoesNotAllocate(t *testing.T) {
	s, g, toClient, toPeers := path()
	up, down := channelData(1200), make([]byte, channelDataHeader+1200, 1600)
	if n := testing.AllocsPerRun(1000, func() { g.forward(up, someClient) }); n != 0 || toPeers.sent == 0 {
		t.Errorf("to the peer: got %v allocations and %d packets, want none and some", n, toPeers.sent)
	}
	if n := testing.AllocsPerRun(1000, func() { s.deliver(down, somePeer) }); n != 0 || toClient.sent == 0 {
		t.Errorf("to the client: got %v allocations and %d packets, want none and some", n, toClient.sent)
	}
}

func TestForward(t *testing.T) {
	_, g, _, toPeers := path()
	for _, tt := range []struct {
		name   string
		b      []byte
		client netip.AddrPort
		want   string // payload, - for none
	}{
		{"a payload", channelData(3), someClient, "xxx"},
		{"with padding", append(channelData(3), 0), someClient, "xxx"},
		{"with more than padding", append(channelData(3), make([]byte, 50)...), someClient, "xxx"},
		{"empty", channelData(0), someClient, ""},
		{"length beyond the end", channelData(3)[:6], someClient, "-"},
		{"half a header", []byte{0x40, 0, 0}, someClient, "-"},
		{"another channel", []byte{0x40, 1, 0, 1, 'x'}, someClient, "-"},
		{"another client", channelData(3), netip.MustParseAddrPort("203.0.113.7:40001"), "-"},
	} {
		toPeers.last, toPeers.sent = nil, 0
		g.forward(tt.b, tt.client)
		got := "-"
		if toPeers.sent > 0 {
			got = string(toPeers.last)
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestDeliver(t *testing.T) {
	s, _, toClient, _ := path()
	frame := func(payload string) []byte { return append(make([]byte, channelDataHeader, 1600), payload...) }
	for payload, want := range map[string]string{
		"": "\x40\x00\x00\x00", "x": "\x40\x00\x00\x01x\x00\x00\x00", "xxx": "\x40\x00\x00\x03xxx\x00", "xxxx": "\x40\x00\x00\x04xxxx",
	} {
		if s.deliver(frame(payload), somePeer); string(toClient.last) != want {
			t.Errorf("%q by channel: got %x, want %x", payload, toClient.last, want)
		}
	}
	s.deliver(frame("hello"), netip.MustParseAddrPort("8.8.8.8:6000")) // permitted, without a channel
	m := &stun.Message{Raw: toClient.last}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	raw, _ := m.Attributes.Get(stun.AttrXORPeerAddress)
	data, _ := m.Get(stun.AttrData)
	if from, ok := peerAddress(m, raw); !ok || from.Port() != 6000 || string(data) != "hello" || m.Type != stun.NewType(stun.MethodData, stun.ClassIndication) {
		t.Errorf("by indication: got %v %q from %v, want hello from port 6000", m.Type, data, from)
	}
	before := toClient.sent
	s.deliver(frame("hello"), netip.MustParseAddrPort("8.8.4.4:5000"))
	if toClient.sent != before {
		t.Error("a peer without a permission reaches the client")
	}
}

// Padding behind short payloads is zero, whatever stood in the buffer before.
func TestPaddingTellsNothing(t *testing.T) {
	s, _, toClient, _ := path()
	for range 100 {
		b := bytes.Repeat([]byte{0xEE}, 1600)
		s.deliver(b[:channelDataHeader+1201], somePeer)
		if tail := toClient.last[channelDataHeader+1201:]; strings.Trim(string(tail), "\x00") != "" || len(tail) != 3 {
			t.Fatalf("padding: got %x, want three zeros", tail)
		}
	}
}

// A channel or permission that ends, ends.
func TestRelayingEndsWithPermissionAndChannel(t *testing.T) {
	s, g, toClient, toPeers := path()
	s.channels.unbind(0x4000)
	g.forward(channelData(3), someClient)
	s.permissions.set(somePeer.Addr().AsSlice(), false)
	s.deliver(make([]byte, channelDataHeader+3, 1600), somePeer)
	if toPeers.sent+toClient.sent != 0 {
		t.Errorf("got %d and %d packets, want none", toPeers.sent, toClient.sent)
	}
}

func BenchmarkForward(b *testing.B) {
	_, g, _, _ := path()
	p := channelData(1200)
	b.ReportAllocs()
	for b.Loop() {
		g.forward(p, someClient)
	}
}

func BenchmarkDeliver(b *testing.B) {
	s, _, _, _ := path()
	p := make([]byte, channelDataHeader+1200, 1600)
	b.ReportAllocs()
	for b.Loop() {
		s.deliver(p, somePeer)
	}
}

// BenchmarkLoopback relays over real sockets, one packet at a time, there and back.
func BenchmarkLoopback(b *testing.B) {
	f := start(b, allowLoopback)
	peer := echo(b)
	w := f.wire(b, "udp").challenge()
	w.allocate()
	if got := code(w.call(stun.MethodChannelBind, channel(0x4000), peerAttr(peer.LocalAddr().String()))); got != 0 {
		b.Fatalf("got %d", got)
	}
	p, buf := channelData(1200), make([]byte, 1600)
	_ = w.SetReadDeadline(time.Now().Add(time.Minute))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(p); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
