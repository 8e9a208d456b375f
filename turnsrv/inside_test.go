package turnsrv

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// Behind a 1:1 NAT: relays are bound to loopback and advertised at an address
// that no packet from here reaches.
func TestRelayToRelayStaysInside(t *testing.T) {
	outside := netip.MustParseAddr("198.51.100.1")
	f := start(t, func(c *Config) {
		c.IPv4.Advertise = func() netip.Addr { return outside }
		c.Peers.SetOwn([]netip.Addr{loopback, outside})
	})
	a, b := f.wire(t, "udp").challenge(), f.wire(t, "tcp").challenge()
	relayA, relayB := a.allocate(), b.allocate()
	if relayA.Addr() != outside || relayB.Addr() != outside {
		t.Fatalf("got relays %v and %v, want them on %v", relayA, relayB, outside)
	}
	toB, toA := peerAttr(relayB.String()), peerAttr(relayA.String())

	// Without a permission at the other end nothing arrives.
	if got := code(a.call(stun.MethodCreatePermission, toB)); got != 0 {
		t.Fatalf("got %d", got)
	}
	indication := func(w *wire, to peerAttr, data string) {
		w.send(w.build(stun.NewType(stun.MethodSend, stun.ClassIndication), to, value(stun.AttrData, []byte(data)...)).Raw)
	}
	indication(a, toB, "too early")
	if got := code(a.call(stun.MethodRefresh)); got != 0 { // the indication has been handled by now
		t.Fatalf("got %d", got)
	}

	// With one, as a Data indication from the advertised address.
	if got := code(b.call(stun.MethodCreatePermission, toA)); got != 0 {
		t.Fatalf("got %d", got)
	}
	indication(a, toB, "hello")
	raw, err := b.frame(5 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	m := &stun.Message{Raw: raw}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	from, _ := m.Attributes.Get(stun.AttrXORPeerAddress)
	data, _ := m.Get(stun.AttrData)
	if got, _ := peerAddress(m, from); got != relayA || string(data) != "hello" || m.Type.Method != stun.MethodData {
		t.Errorf("got %v %q from %v, want hello from %v", m.Type, data, got, relayA)
	}

	// With a channel at both ends, as ChannelData, of any length.
	for _, w := range []struct {
		*wire
		peer peerAttr
	}{{a, toB}, {b, toA}} {
		if got := code(w.call(stun.MethodChannelBind, channel(0x4001), w.peer)); got != 0 {
			t.Fatalf("got %d", got)
		}
	}
	for n := range 9 {
		payload := bytes.Repeat([]byte{byte(n)}, n)
		padded := append([]byte{0x40, 1, 0, byte(n)}, append(payload, make([]byte, -n&3)...)...)
		b.send(padded)
		if got, err := a.frame(5 * time.Second); err != nil || !bytes.Equal(got, padded) {
			t.Errorf("%d bytes: got %x %v, want %x", n, got, err, padded)
		}
	}
	for _, s := range f.Sessions() {
		if s.Relay == relayA && s.PacketsIn != 9 || s.Relay == relayB && s.PacketsOut != 9 {
			t.Errorf("got %+v, want 9 packets from B to A", s)
		}
	}
}

func TestRelayToNobodyInside(t *testing.T) {
	i := newInside(PortRange{50000, 50009})
	s := &session{Session: Session{Relay: netip.MustParseAddrPort("198.51.100.1:50003")}}
	i.enter(s)
	for at, want := range map[string]*session{
		"198.51.100.1:50003": s, "198.51.100.2:50003": nil, "198.51.100.1:50004": nil,
		"198.51.100.1:49999": nil, "198.51.100.1:50010": nil, "198.51.100.1:0": nil, "198.51.100.1:65535": nil,
	} {
		if got := i.find(netip.MustParseAddrPort(at)); got != want {
			t.Errorf("%s: got %v, want %v", at, got, want)
		}
	}
	i.leave(s)
	if got := i.find(s.Relay); got != nil {
		t.Errorf("after it has left: got %v, want nobody", got)
	}
}
