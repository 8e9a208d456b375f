package nattest

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/pion/logging"
	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/vnet"
)

// liar is a TURN server that makes of each packet to its relay whatever a
// function says. Its relay is at serverA:49160.
type liar struct {
	control, relay net.PacketConn
	client         net.Addr
	tell           func(from netip.AddrPort, payload []byte) [][]byte
}

// serve answers every authenticated request with success until its socket is
// closed.
func (l *liar) serve() {
	key := stun.NewLongTermIntegrity("user", "realm", "secret")
	buf := make([]byte, 1500)
	for {
		n, from, err := l.control.ReadFrom(buf)
		if err != nil {
			return
		}
		req, ok := decode(buf[:n])
		if !ok || req.Type.Class != stun.ClassRequest {
			continue
		}
		l.client = from
		answer := play(req, []stun.Setter{stun.CodeUnauthorized, stun.NewRealm("realm"), stun.NewNonce("n")})
		if req.Contains(stun.AttrMessageIntegrity) {
			answer = play(req, []stun.Setter{address{&stun.XORMappedAddress{IP: net.ParseIP(serverA), Port: 49160}}, key})
		}
		l.control.WriteTo(answer.Raw, from)
	}
}

func (l *liar) pass() {
	buf := make([]byte, 1500)
	for {
		n, from, err := l.relay.ReadFrom(buf)
		if err != nil {
			return
		}
		for _, raw := range l.tell(addrPort(from), slices.Clone(buf[:n])) {
			l.control.WriteTo(raw, l.client)
		}
	}
}

// Loop takes nothing for its packet but its packet: whole, from an address that
// the peer is known by.
func TestLoopTakesItsOwnPacketAlone(t *testing.T) {
	honest := func(from netip.AddrPort, b []byte) []byte {
		return stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodData, stun.ClassIndication), peer(from), data(b)).Raw
	}
	flip := func(b []byte, i int) []byte { b = slices.Clone(b); b[i] ^= 1; return b }
	stranger := netip.MustParseAddrPort("203.0.113.66:1")
	for name, tt := range map[string]struct {
		tell func(from netip.AddrPort, b []byte) []byte
		want bool
	}{
		"honest":            {honest, true},
		"through a NAT":     {func(from netip.AddrPort, b []byte) []byte { return honest(netip.AddrPortFrom(from.Addr(), 7), b) }, true},
		"nothing":           {func(netip.AddrPort, []byte) []byte { return nil }, false},
		"another sender":    {func(_ netip.AddrPort, b []byte) []byte { return honest(stranger, b) }, false},
		"first byte wrong":  {func(from netip.AddrPort, b []byte) []byte { return honest(from, flip(b, 0)) }, false},
		"last nonce byte":   {func(from netip.AddrPort, b []byte) []byte { return honest(from, flip(b, 11)) }, false},
		"another number":    {func(from netip.AddrPort, b []byte) []byte { return honest(from, flip(b, 15)) }, false},
		"shorter":           {func(from netip.AddrPort, b []byte) []byte { return honest(from, b[:15]) }, false},
		"longer":            {func(from netip.AddrPort, b []byte) []byte { return honest(from, append(b, 0)) }, false},
		"unknown channel":   {func(_ netip.AddrPort, b []byte) []byte { return channelData(b) }, false},
		"bare":              {func(_ netip.AddrPort, b []byte) []byte { return b }, false},
		"a Send indication": {func(from netip.AddrPort, b []byte) []byte { m, _ := indication(from, b); return m.Raw }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wan := must(vnet.NewRouter(&vnet.RouterConfig{CIDR: "203.0.113.0/24", LoggerFactory: logging.NewDefaultLoggerFactory()}))
				srv := must(vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{serverA}}))
				cli := must(vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{natOuter}}))
				ok(wan.AddNet(srv))
				ok(wan.AddNet(cli))
				ok(wan.Start())
				l := &liar{control: must(srv.ListenPacket("udp4", serverA+":3478")), relay: must(srv.ListenPacket("udp4", serverA+":49160"))}
				l.tell = func(from netip.AddrPort, b []byte) [][]byte {
					if raw := tt.tell(from, b); raw != nil {
						return [][]byte{raw}
					}
					return nil
				}
				go l.serve()
				go l.pass()
				peerSocket := must(cli.ListenPacket("udp4", natOuter+":0"))
				r, err := Loop(t.Context(), LoopConfig{
					Server: netip.MustParseAddrPort(serverA + ":3478"), Username: "user", Password: "secret",
					Client: must(cli.ListenPacket("udp4", natOuter+":0")), Peer: peerSocket,
					From: []netip.Addr{netip.MustParseAddr(natOuter)},
				})
				if err != nil || r.Arrived != tt.want || r.Relayed.Port() != 49160 {
					t.Errorf("got %+v, %v; want arrived %t", r, err, tt.want)
				}
				peerSocket.Close()
				l.control.Close()
				l.relay.Close()
				ok(wan.Stop())
			})
		})
	}
}
