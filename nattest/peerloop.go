package nattest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v3"
)

// peerLoop is the loop of one allocation from outside: a UDP socket of our own, as a peer
// without TURN has one, sends to the relayed address, and the allocation
// answers. Relay to relay may pass inside the server; only this sees a firewall
// in front of the relay ports, or a wrong advertised address.
type peerLoop struct {
	c      *Config
	stun   []netip.AddrPort // of the server; asked beside each packet, as a control
	server []netip.Addr     // addresses of the server
}

// minControls is the share of control requests that must be answered for
// silence to mean anything.
const minControls = 0.8

// loop tests the relay of one allocation.
func (o peerLoop) loop(ctx context.Context, a *allocation) LoopReport {
	none := func(why string) LoopReport { return LoopReport{State: "not_tested", Why: why} }
	relayed := a.relayed
	if me := a.mapped.Addr(); me == relayed.Addr() || me.IsLoopback() || slices.Contains(o.server, me) {
		return none("this is the server's own machine; run the test from another network")
	}
	control := slices.IndexFunc(o.stun, func(ep netip.AddrPort) bool { return ep.Addr().BitLen() == relayed.Addr().BitLen() })
	if control < 0 {
		return none("the server has no STUN address of the relay's family to compare with")
	}
	s, err := o.c.socketTo(ctx, relayed)
	if err != nil {
		return none("no UDP socket could be opened: " + plain(err))
	}
	defer s.Close()
	mapped, err := Reflexive(ctx, s, o.stun[control])
	if err != nil {
		return none("nothing comes back over UDP to " + o.stun[control].String() + ": a packet that does not arrive would prove nothing")
	}
	if mapped.Addr() == relayed.Addr() || slices.Contains(o.server, mapped.Addr()) {
		return none("this is the server's own machine; run the test from another network")
	}
	if f := a.permit(ctx, mapped); f != nil {
		r := none("the server does not take " + mapped.Addr().String() + " as a peer: " + f.reason)
		if f.code == 403 {
			r.Hint = "private and reserved addresses are denied unless TURNKEY_ALLOW_PEERS names them; run the test from the internet"
		}
		return r
	}
	return o.exchange(ctx, a, &controlled{PacketConn: s, relayed: relayed, stun: o.stun[control]}, mapped.Addr())
}

// exchange sends to the relay until a packet arrives, and from there back.
func (o peerLoop) exchange(ctx context.Context, a *allocation, s *controlled, mapped netip.Addr) LoopReport {
	port := []uint16{a.relayed.Port()}
	test := newPackets()
	var peer netip.AddrPort
	start := time.Now()
	err := repeat(ctx, s, a, func(n int) ([]byte, error) { return test.packet(n, 0), nil }, func(raw []byte) bool {
		if _, ok := a.from(raw, test, 0, mapped); !ok {
			return false
		}
		peer, _, _ = a.received(raw)
		return true
	})
	if err != nil {
		r := LoopReport{State: "failed", Why: "a packet from here to relay " + a.relayed.String() + " does not arrive", Closed: port, mapped: mapped}
		switch share := s.answered(); {
		case errors.Is(err, errLate), !errors.Is(err, context.DeadlineExceeded):
			r = LoopReport{State: "not_tested", Why: plain(err)}
		case share < minControls:
			r = LoopReport{State: "not_tested", Why: "too many packets get lost on the way to tell"}
		}
		return r
	}
	back := newPackets()
	err = repeat(ctx, a, &packetLink{PacketConn: s.PacketConn, server: a.relayed},
		func(n int) ([]byte, error) { return nil, a.send(peer, back.packet(n, 0)) },
		func(raw []byte) bool { _, ok := back.number(raw, 0); return ok })
	switch {
	case err == nil:
		return LoopReport{State: "ok", Open: port, RTTMS: ms(time.Since(start))}
	case errors.Is(err, errLate), !errors.Is(err, context.DeadlineExceeded):
		return LoopReport{State: "not_tested", Why: plain(err)}
	}
	return LoopReport{
		State: "failed", Closed: port, oneWay: true, mapped: mapped,
		Why: "a packet from here reaches relay " + a.relayed.String() + ", and none comes back",
	}
}

// controlled is the outside socket as a link to the relay: with each packet a
// Binding request leaves for the server.
type controlled struct {
	net.PacketConn
	relayed, stun netip.AddrPort
	asked         [][stun.TransactionIDSize]byte
}

func (s *controlled) write(raw []byte) error {
	req := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	s.asked = append(s.asked, req.TransactionID)
	if _, err := s.WriteTo(req.Raw, net.UDPAddrFromAddrPort(s.stun)); err != nil {
		return err
	}
	_, err := s.WriteTo(raw, net.UDPAddrFromAddrPort(s.relayed))
	return err
}

// answered is the share of the control requests that were answered.
func (s *controlled) answered() float64 {
	if len(s.asked) == 0 {
		return 0
	}
	in := &packetLink{PacketConn: s.PacketConn, server: s.stun}
	got := map[[stun.TransactionIDSize]byte]bool{}
	for wait := time.Now().Add(20 * time.Millisecond); len(got) < len(s.asked); { // they are in the socket's buffer
		raw, err := in.read(wait)
		if err != nil {
			break
		}
		if m, ok := decode(raw); ok && m.Type == stun.BindingSuccess && slices.Contains(s.asked, m.TransactionID) {
			got[m.TransactionID] = true
		}
	}
	return float64(len(got)) / float64(len(s.asked))
}

func (s *controlled) read(time.Time) ([]byte, error) { return nil, net.ErrClosed } // answers come to the allocation
func (s *controlled) lossy() bool                    { return true }
