package nattest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Loops are the two ways data went through a URL's relays.
type Loops struct {
	// RelayToRelay is from one relay of our own to the other and back. Some
	// servers, turnkey among them, pass that on inside.
	RelayToRelay LoopReport `json:"relay_to_relay"`
	// SocketToRelay is from a UDP socket of this machine, as a peer without
	// TURN has one, to both relays and back.
	SocketToRelay LoopReport `json:"socket_to_relay"`
}

// LoopReport is one loop.
type LoopReport struct {
	State  string   `json:"state"` // ok, failed or not_tested
	Why    string   `json:"why,omitempty"`
	Hint   string   `json:"hint,omitempty"`
	RTTMS  float64  `json:"rtt_ms,omitempty"`
	Open   []uint16 `json:"open_ports,omitempty"`   // relay ports that let packets in and out
	Closed []uint16 `json:"closed_ports,omitempty"` // relay ports that did not

	oneWay bool       // packets reach the relay, and none comes back
	mapped netip.Addr // where the server saw the socket
}

// untried is a loop that nothing was sent through.
func untried() LoopReport { return LoopReport{State: "not_tested", Why: "nothing could be sent"} }

// pageLoops are those of a URL that a page tested with this outcome: it has
// peer connections at both ends and no socket.
func pageLoops(state string) Loops {
	return Loops{RelayToRelay: LoopReport{State: state}, SocketToRelay: LoopReport{State: "not_tested", Why: "a page has no socket"}}
}

// both is the outcome of a loop over two relays.
func both(a, b LoopReport) LoopReport {
	if a.State != "failed" && (b.State == "failed" || a.State != "ok") {
		a, b = b, a
	}
	a.Open, a.Closed = slices.Concat(a.Open, b.Open), slices.Concat(a.Closed, b.Closed)
	a.oneWay = a.oneWay && len(a.Closed) > 0 && (b.State != "failed" || b.oneWay)
	return a
}

// doubt takes a failed loop back where the silence can have another cause: a
// NAT that draws from several public addresses lets the server drop what comes
// from one that it has no permission for.
func (l *LoopReport) doubt(seen []netip.Addr) {
	if l.State != "failed" || l.oneWay {
		return
	}
	if slices.ContainsFunc(seen, func(a netip.Addr) bool { return a.BitLen() == l.mapped.BitLen() && a != l.mapped }) {
		*l = LoopReport{State: "not_tested", Why: "this network uses several public addresses, and which one a relay sees cannot be known"}
	}
}

// explain gives a failed loop its hint.
func (l *LoopReport) explain(relayed netip.Addr, f *facts, server []netip.Addr) {
	switch {
	case l.State != "failed":
	case len(l.Open) > 0:
		l.Why = fmt.Sprintf("of %d relay ports tried, %s let nothing through", len(l.Open)+len(l.Closed), numbers(l.Closed))
		l.Hint = "only a part of the range is open: open all of " + f.relayPorts() + " in the server's firewall and its cloud's"
	case l.oneWay:
		l.Hint = "the server's firewall lets packets in to its relay ports and not out: let those of " + f.relayPorts() + " out"
	default:
		l.Hint = hintRelayPorts(relayed, f, server)
	}
}

// hintRelayPorts says why nobody outside reaches a relay: its address is not
// one that the server is known by, or its port is closed.
func hintRelayPorts(relayed netip.Addr, f *facts, server []netip.Addr) string {
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

func numbers(ports []uint16) string {
	var out []string
	for _, p := range ports {
		if s := fmt.Sprint(p); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}
