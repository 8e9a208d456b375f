package nattest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/pion/stun/v3"
)

// turns makes items of how the TURN URLs did.
func turns(f facts, urls []URLReport, relayPorts Item) []Item {
	if len(urls) == 0 {
		why := "the HTTP API does not answer"
		if f.base != "" {
			why = "no credentials"
		}
		return []Item{{Name: "turn", Target: "TURN", State: "not_tested", Reason: why}}
	}
	var out []Item
	for _, u := range urls {
		out = append(out, Item{Name: "turn", Target: u.URL, State: u.State, MS: u.RTTMS, Reason: u.Reason, Hint: u.Hint, TURN: &u})
	}
	return append(out, relayPorts)
}

// relayPortTest returns what, called with each working allocation, tests
// through the first URL over UDP that the relay ports let packets in.
func (c *Config) relayPortTest(f facts, server []netip.Addr, it *Item) func(context.Context, int, *allocation) {
	by := slices.IndexFunc(f.urls, func(u turnURL) bool { return u.Scheme == stun.SchemeTypeTURN && u.Proto == stun.ProtoTypeUDP })
	return func(ctx context.Context, i int, a *allocation) {
		if i == by {
			*it = c.checkRelayPort(ctx, a, f, server)
		}
	}
}

// checkRelayPort sends from a socket of its own, as a peer without TURN would,
// to the relayed address. Relay to relay may pass inside the server, so only
// this sees a firewall in front of the relay ports.
func (c *Config) checkRelayPort(ctx context.Context, a *allocation, f facts, server []netip.Addr) Item {
	it := Item{Name: "relay_ports", Target: "UDP from here to relay " + a.relayed.String(), State: "not_tested"}
	me := a.mapped.Addr()
	if !me.IsValid() || me == a.relayed.Addr() || me.IsLoopback() || slices.Contains(server, me) {
		it.Reason = "this is the server's own machine; run the check from another network"
		return it
	}
	network := "udp4"
	if a.relayed.Addr().Is6() {
		network = "udp6"
	}
	if me.BitLen() != a.relayed.Addr().BitLen() {
		it.Reason = "the relayed address is of another family than this connection"
		return it
	}
	local, _, why := c.egress(ctx, network, []netip.AddrPort{a.relayed})
	if why != "" {
		it.Reason = why
		return it
	}
	if f := a.permit(ctx, a.mapped); f != nil {
		it.Reason = "the server does not take " + me.String() + " as a peer: " + f.reason
		if f.code == 403 {
			it.Hint = "private and reserved addresses are denied unless TURNKEY_ALLOW_PEERS names them; run the check from the internet"
		}
		return it
	}
	s, err := c.ListenPacket(ctx, network, net.JoinHostPort(local.String(), "0"))
	if err != nil {
		it.Reason = "no UDP socket could be opened: " + plain(err)
		return it
	}
	defer s.Close()
	payload := newPayload()
	err = repeat(ctx, &packetLink{PacketConn: s, server: a.relayed}, a, func(int) ([]byte, error) { return payload, nil },
		func(raw []byte) bool { _, ok := delivered(raw, payload); return ok })
	if it.State = "ok"; err != nil {
		it.State, it.Reason, it.Hint = "failed", "a packet from here does not arrive, though packets between relays do", hintRelayPorts(a.relayed.Addr(), f, server)
	}
	return it
}

// hintRelayPorts says why nobody outside reaches a relay: its address is not
// one that the server is known by, or its port is closed.
func hintRelayPorts(relayed netip.Addr, f facts, server []netip.Addr) string {
	open := fmt.Sprintf("open %s in the server's firewall and its cloud's; if this network blocks such ports itself, check from another", f.relayPorts())
	if slices.Contains(server, relayed) {
		return open
	}
	return fmt.Sprintf("is %s the server's public address (TURNKEY_PUBLIC_IP)? If so, %s", relayed, open)
}

// relayPorts names the server's relay ports.
func (f *facts) relayPorts() string {
	if f.doc.relayPorts == "" {
		return "the UDP ports of TURNKEY_RELAY_PORTS"
	}
	return "UDP " + f.doc.relayPorts + " (TURNKEY_RELAY_PORTS)"
}
