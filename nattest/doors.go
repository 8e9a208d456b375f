package nattest

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

// How filtering is tested: rounds of requests from sockets that never sent
// anywhere but to one endpoint.
const (
	roundEvery = 80 * time.Millisecond
	minRounds  = 5
	maxRounds  = 12
	// Rounds go on while loss may still be the reason for all that silence.
	enough = 1e-6
)

// changes are the flags of CHANGE-REQUEST (RFC 5780 section 7.2), by kind.
var changes = map[string]byte{kindChangePort: 2, kindSolicitedPort: 2, kindChangeBoth: 6, kindSolicitedBoth: 6}

// door is one socket for filtering.
type door struct {
	socket int
	rounds int
	due    time.Time // of the next round
	shut   bool      // no more rounds
	last   time.Time // when the last one left
	closed bool      // answers have had their time
}

// closed says that a socket may have sent to where its unsolicited answers come from.
func (p *probe) closed(socket int) bool {
	return slices.ContainsFunc(p.doors, func(d *door) bool { return d.socket == socket && d.closed })
}

// openDoors begins the test of filtering with the first answer.
func (p *probe) openDoors(now time.Time) {
	if p.base != nil || p.filtering == 0 {
		return
	}
	for _, t := range p.tests {
		if t.kind == kindMapping && t.answered() && slices.Contains(p.own, t.to) && (t.to == p.own[0] || !now.Before(p.began.Add(preferred))) {
			if p.choose(t); p.port.IsValid() || p.both.IsValid() {
				break
			}
		}
	}
	if p.base == nil {
		return
	}
	for i := range p.filtering {
		p.doors = append(p.doors, &door{socket: p.mapping + i, due: now.Add(time.Duration(i) * stagger)})
	}
}

// choose makes an answer the one to test filtering around, if there is another
// place that answers may come from: OTHER-ADDRESS (RFC 5780 section 7.4), or
// another port of the server.
func (p *probe) choose(t *test) {
	var port, both netip.AddrPort
	if other := p.through(t.other); other.IsValid() && other.Port() != t.to.Port() {
		port = netip.AddrPortFrom(t.to.Addr(), other.Port())
		if other.Addr() != t.to.Addr() && slices.Contains(p.own, other) {
			both = other
		}
	}
	for _, ep := range p.own {
		if !port.IsValid() && ep.Addr() == t.to.Addr() && ep.Port() != t.to.Port() {
			port = ep
		}
	}
	if port.IsValid() {
		p.base, p.port, p.both = t, port, both
	}
}

// knock sends the rounds of one socket, and what follows them. It says when to
// call again.
func (p *probe) knock(d *door, now time.Time) time.Time {
	if !d.shut && !now.Before(d.due) {
		if p.settled(d) || d.rounds >= minRounds && (d.rounds >= maxRounds || p.certain(now)) {
			d.shut = true
		} else {
			p.round(d, now)
		}
	}
	if !d.shut {
		return d.due
	}
	if end := d.last.Add(p.window()); !p.settled(d) && now.Before(end) {
		return end
	}
	if !d.closed {
		d.closed = true
		p.disturb(d, now)
	}
	return time.Time{}
}

// round sends one round: requests for unsolicited answers and a control.
func (p *probe) round(d *door, now time.Time) {
	at := []time.Duration{0}
	for _, k := range p.wanted() {
		p.add(k.kind, now, d.socket, p.base.to, k.expect, at, 0)
	}
	p.add(kindControl, now, d.socket, p.base.to, p.base.to, at, 0)
	d.rounds++
	d.last, d.due = now, now.Add(roundEvery)
}

// want is an unsolicited answer to ask for.
type want struct {
	kind, solicited string
	expect          netip.AddrPort
}

// wanted lists those that exist and that the server has not refused.
func (p *probe) wanted() (out []want) {
	for _, w := range []want{{kindChangeBoth, kindSolicitedBoth, p.both}, {kindChangePort, kindSolicitedPort, p.port}} {
		if w.expect.IsValid() && !p.refused(w.kind) {
			out = append(out, w)
		}
	}
	return out
}

// refused says that the server cannot do it, or does as if it had not been asked.
func (p *probe) refused(kind string) bool {
	return slices.ContainsFunc(p.tests, func(t *test) bool {
		return t.kind == kind && (t.fault == faultError || t.fault == faultAsked)
	})
}

// settled says that a socket has nothing more to find out.
func (p *probe) settled(d *door) bool {
	wanted := p.wanted()
	if len(wanted) == 0 {
		return true
	}
	return slices.ContainsFunc(p.tests, func(t *test) bool {
		return t.socket == d.socket && t.kind == wanted[0].kind && t.answered()
	})
}

// certain says that loss does not explain why sockets heard nothing.
func (p *probe) certain(now time.Time) bool {
	sent, lost, asked := 0, 0, 0
	old := now.Add(-p.window())
	for _, t := range p.tests {
		switch {
		case t.kind == kindControl && (t.answered() || t.sends > 0 && t.sentAt[0].Before(old)):
			if sent++; !t.answered() {
				lost++
			}
		case t.kind == kindChangePort:
			asked++
		}
	}
	return math.Pow(lossOf(lost, sent), float64(asked)) <= enough
}

// lossOf is the most that the share of lost round trips may well be: the estimate
// of the rule of succession, and two standard deviations more where any was lost. A
// few lucky controls must not make a filter of what was lost.
func lossOf(lost, sent int) float64 {
	mean := float64(lost+1) / float64(sent+2)
	if lost == 0 {
		return mean
	}
	return mean + 2*math.Sqrt(mean*(1-mean)/float64(sent+3))
}

// window is how long an answer may take, by the round trips that were seen.
func (p *probe) window() time.Duration {
	var longest time.Duration
	for _, t := range p.tests {
		longest = max(longest, t.rtt())
	}
	if longest == 0 {
		return sendAt[len(sendAt)-1]
	}
	return max(150*time.Millisecond, longest*3/2+50*time.Millisecond)
}

// disturb asks the places that have just sent unsolicited.
func (p *probe) disturb(d *door, now time.Time) {
	for _, w := range p.wanted() {
		p.add(kindDisturb, now, d.socket, w.expect, w.expect, briskly[:], p.window())
	}
}

// solicit asks for the same answers on a socket of the mapping test, where a
// NAT with endpoint-independent mapping lets them in: this shows that the
// server can send them.
func (p *probe) solicit(now time.Time) {
	if p.base == nil {
		return
	}
	for _, w := range p.wanted() {
		if slices.ContainsFunc(p.tests, func(t *test) bool { return t.kind == w.solicited }) {
			continue
		}
		for s := range p.mapping {
			if at := p.seen(s, p.base.to); at.IsValid() && p.seen(s, w.expect) == at {
				p.add(w.solicited, now, s, p.base.to, w.expect, briskly[:], p.window())
				break
			}
		}
	}
}
