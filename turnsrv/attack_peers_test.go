package turnsrv

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/pion/stun/v3"
)

// spellings are the ways to name an address that no relay may reach.
var spellings = []string{
	"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254",
	"168.63.129.16", "192.0.0.1", "192.88.99.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::127.0.0.1", "::10.0.0.1",
	"2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::127.0.0.1",
	"2001:0:1:2:3:4:80ff:fffe", "2001:0:7f00:1::", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "100::1", "3fff::1", "5f00::1",
}

// Every spelling, by everything that can name a peer, on relays of both
// families: nothing is ever sent there. The permission is judged, and where a
// packet leaves it is judged again, whatever was permitted.
func TestDeniedPeersInEverySpelling(t *testing.T) {
	m := inMemory(t, nil)
	w := m.signer()
	v4, v6 := m.newcomer(), m.newcomer()
	for client, family := range map[netip.AddrPort]stun.Setter{v4: wantIPv4, v6: wantIPv6} {
		if got := code(m.call(w, client, stun.MethodAllocate, udpTransport, family)); got != 0 {
			t.Fatalf("Allocate: got %d", got)
		}
	}
	for _, spelling := range spellings {
		peer := netip.AddrPortFrom(netip.MustParseAddr(spelling), 80)
		to, attr := peer.Addr(), rawPeer(peer)
		if spelling == "::ffff:8.8.8.8" { // harmless, and yet of no family that a relay has
			continue
		}
		for _, client := range []netip.AddrPort{v4, v6} {
			want := stun.CodePeerAddrFamilyMismatch
			if s := m.endpoints[1].gate.session(client); family(to) == s.family {
				want = stun.CodeForbidden
			}
			if got := code(m.call(w, client, stun.MethodCreatePermission, attr)); got != want {
				t.Errorf("CreatePermission for %v from a relay of %v: got %d, want %d", to, client, got, want)
			}
			if got := code(m.call(w, client, stun.MethodCreatePermission, public6(client == v6), attr)); got != want {
				t.Errorf("CreatePermission for a good peer and %v: got %d, want %d", to, got, want)
			}
			if got := code(m.call(w, client, stun.MethodChannelBind, channel(0x4001), attr)); got != want {
				t.Errorf("ChannelBind to %v: got %d, want %d", to, got, want)
			}
			m.sendAnyway(w, client, peer, attr)
		}
	}
	if sent := m.relayed(); len(sent) > 0 {
		t.Errorf("relays have sent something to %v", sent)
	}
}

func public6(six bool) stun.Setter {
	if six {
		return peerAttr("[2a00:1450::1]:53")
	}
	return public
}

// rawPeer is an XOR-PEER-ADDRESS as an attacker writes it: package stun makes
// IPv4 of an IPv4-mapped address.
type rawPeer netip.AddrPort

func (p rawPeer) AddTo(m *stun.Message) error {
	a := netip.AddrPort(p)
	v := binary.BigEndian.AppendUint16([]byte{0, family(a.Addr())}, a.Port()^0x2112)
	for i, c := range a.Addr().AsSlice() {
		v = append(v, c^m.Raw[4+i])
	}
	m.Add(stun.AttrXORPeerAddress, v)
	return nil
}

// sendAnyway sends to a peer by indication and by channel, as it is and with
// the permission and the channel that a fault elsewhere might have let in.
func (m *memory) sendAnyway(w *wire, client, peer netip.AddrPort, attr stun.Setter) {
	m.t.Helper()
	s := m.endpoints[1].gate.session(client)
	indication := w.build(stun.NewType(stun.MethodSend, stun.ClassIndication), attr, value(stun.AttrData, 1, 2, 3, 4)).Raw
	data := binary.BigEndian.AppendUint32([]byte{0x41, 0x23, 0, 4}, 0)
	for _, b := range [][]byte{indication, data} {
		if answers := m.exchange(b, client); len(answers) > 0 {
			m.t.Errorf("%v: got an answer to data", peer)
		}
	}
	s.permissions.set(peer.Addr().AsSlice(), true)
	s.channels.bind(0x4123, unmap(peer))
	before := s.relay.denied.Load()
	m.exchange(indication, client)
	m.exchange(data, client)
	if got := s.relay.denied.Load() - before; got != 2 {
		m.t.Errorf("%v, with a permission: got %d packets held back, want 2", peer, got)
	}
	s.permissions.set(peer.Addr().AsSlice(), false)
	s.channels.unbind(0x4123)
}
