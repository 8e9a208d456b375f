package nattest

import (
	"context"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// Hairpin is whether two sockets behind the NAT reach each other by their
// public addresses (RFC 4787 section 6, measured as RFC 5780 section 3.4 says).
type Hairpin struct {
	State  string         `json:"state"` // yes, no, unknown or not_tested
	Why    string         `json:"why,omitempty"`
	Source string         `json:"source,omitempty"` // of the packet that came back: external (as RFC 4787 REQ-9 wants), internal or other
	From   netip.AddrPort `json:"from,omitzero"`    // that source
	To     netip.AddrPort `json:"to,omitzero"`      // the public address it was sent to
}

// crossAt is when the sockets send to each other. The last times are for
// routers that send no more than one ICMP error a second (Linux, once it has
// sent six).
var crossAt = [...]time.Duration{0, 100e6, 200e6, 400e6, 700e6, 1200e6, 2100e6}

// hairpinTest has two sockets learn their public addresses, and then send to
// each other's, so that a filter lets both in.
type hairpinTest struct {
	asks
	request requester
	server  netip.AddrPort
	bind    [2]*ask // where am I seen?
	cross   [2]*ask // from each to the other's public address
	control [2]*ask // afterwards: am I still seen there?
	refused bool    // an ICMP error came, after both have sent to each other
}

func newHairpin(now time.Time, server netip.AddrPort, request requester) *hairpinTest {
	t := &hairpinTest{request: request, server: server}
	for i := range t.bind {
		t.bind[i] = t.add(request(), i, server, now, sendAt[:]...)
	}
	return t
}

func (t *hairpinTest) receive(raw []byte, from netip.AddrPort, socket int, now time.Time) bool {
	k, _ := t.hear(raw, from, socket, now)
	if k == nil {
		return false
	}
	if k.done = true; k.peer { // one way is enough
		for i := range t.cross {
			t.cross[i].done, t.control[i].done = true, true
		}
	}
	t.begin(now)
	return true
}

// begin sends each way once both addresses are known.
func (t *hairpinTest) begin(now time.Time) {
	here, ok := t.bind[0].mapped()
	there, known := t.bind[1].mapped()
	if !ok || !known || t.cross[0] != nil {
		return
	}
	to := [2]netip.AddrPort{there, here}
	last := now.Add(crossAt[len(crossAt)-1] + 200*time.Millisecond)
	for i := range t.cross {
		t.cross[i] = t.add(stun.MustBuild(stun.TransactionID, stun.BindingRequest), i, to[i], now, crossAt[:]...)
		t.cross[i].peer = true
		t.control[i] = t.add(t.request(), i, t.server, last, sendAt[:]...)
	}
}

// refuse notes an ICMP error, once either has sent more than the packet that
// opens its own filter.
func (t *hairpinTest) refuse(int) {
	if t.cross[0] != nil && t.cross[0].sends > 1 && t.cross[1].sends > 1 {
		t.refused = true
	}
}

// conclude judges what was heard. Silence is not "no": a NAT that passes the
// packet on with its inner source gives this machine a packet from itself,
// which it drops, though two machines would reach each other.
func (t *hairpinTest) conclude(local netip.Addr) Hairpin {
	if t.cross[0] == nil {
		return Hairpin{State: Unknown, Why: "too few answers came back to learn the public addresses"}
	}
	for i, k := range t.cross {
		h, ok := k.first(stun.ClassRequest)
		if !ok || h.socket != 1-i {
			continue
		}
		own, _ := t.bind[i].mapped()
		r := Hairpin{State: "yes", From: h.from, To: k.to, Source: "other"}
		switch {
		case h.from == own:
			r.Source = "external"
		case h.from.Addr() == local:
			r.Source = "internal"
		}
		return r
	}
	r := Hairpin{State: Unknown, To: t.cross[0].to}
	for i, k := range t.control {
		now, ok := k.mapped()
		if before, _ := t.bind[i].mapped(); !ok || now != before {
			r.Why = "the NAT stopped answering, or changed the addresses, while it was tested"
			return r
		}
	}
	if t.refused {
		r.State = "no"
		return r
	}
	r.Why = "no packet came back; one that the NAT returned with its inner source would not be seen on one machine: try with two"
	return r
}

// hairpin runs the test with two sockets.
func (g *ground) hairpin(ctx context.Context, why string) Hairpin {
	if why == "" && g.family.NAT == "no" {
		why = "there is no NAT"
	}
	socks, why := g.sockets(ctx, "hairpinning", why, 2)
	if why != "" {
		return Hairpin{State: NotTested, Why: why}
	}
	for _, s := range socks {
		hearRefusals(s)
	}
	t := newHairpin(time.Now(), g.server, g.request)
	g.c.drive(ctx, t, socks)
	return t.conclude(g.local)
}
