package nattest

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// How long the server's first endpoint is preferred to those that answered.
	preferred = 350 * time.Millisecond
	// The end of a test that took no time is no end: see kindAgain.
	restless = 400 * time.Millisecond
)

// advance adds the tests that follow from what was seen so far. It says when to
// call again, and whether no more can follow.
func (p *probe) advance(now time.Time) (wake time.Time, over bool) {
	p.openDoors(now)
	p.solicit(now)
	p.useReserve(now)
	over = true
	if w := p.began.Add(preferred); p.base == nil && p.filtering > 0 && p.mapped() && now.Before(w) {
		wake, over = w, false
	}
	for _, d := range p.doors {
		if w := p.knock(d, now); !d.closed {
			wake, over = sooner(wake, w), false
		}
	}
	if over && now.Before(p.until) && p.longs() {
		return sooner(wake, p.until), false
	}
	if over && !p.again && p.mapped() {
		if w := p.began.Add(restless); now.Before(w) {
			return sooner(wake, w), false
		}
		p.askAgain(now)
	}
	return wake, over
}

// useReserve asks from more sockets where the first contradict each other, or
// where the NAT has several addresses: chance may have made them look alike. It asks
// a second time, too, where nothing came back: a network that was away for a second
// does not block UDP.
func (p *probe) useReserve(now time.Time) {
	if p.reserved || !p.doubtful() && !p.silent(now) {
		return
	}
	p.reserved = true
	for i := range p.spare {
		p.trial(now.Add(time.Duration(i)*stagger), p.mapping+p.filtering+i)
	}
}

// silent says that all requests have had their time, and nothing came back.
func (p *probe) silent(now time.Time) bool {
	return !slices.ContainsFunc(p.tests, func(t *test) bool {
		return t.answered() || t.code != 0 || !t.done && (t.step < len(t.at) || now.Before(t.due(now, p.asked)))
	})
}

func (p *probe) doubtful() bool {
	var first netip.Addr
	for _, t := range p.tests {
		if !t.answered() {
			continue
		}
		if first.IsValid() && first != t.mapped.Addr() {
			return true
		}
		first = t.mapped.Addr()
	}
	both := anyBehavior
	for _, t := range p.trials(make([]netip.AddrPort, p.sockets())) {
		both &= t.possible()
	}
	return both == 0
}

// askAgain asks once more where the mapping was asked.
func (p *probe) askAgain(now time.Time) {
	p.again = true
	for s := range p.mapping {
		i := slices.IndexFunc(p.tests, func(t *test) bool {
			return t.kind == kindMapping && t.socket == s && t.answered() && !t.polite
		})
		if i >= 0 {
			to := p.tests[i].to
			p.add(kindAgain, now, s, to, to, briskly[:], p.window())
		}
	}
}

// mapped says that something answered.
func (p *probe) mapped() bool {
	return slices.ContainsFunc(p.tests, func(t *test) bool { return t.kind == kindMapping && t.answered() })
}

// seen is how an endpoint sees a socket, zero if that is not known.
func (p *probe) seen(socket int, ep netip.AddrPort) netip.AddrPort {
	for _, t := range p.tests {
		if t.kind == kindMapping && t.socket == socket && t.to == ep && t.answered() {
			return t.mapped
		}
	}
	return netip.AddrPort{}
}

// longs says that a token would be of use.
func (p *probe) longs() bool {
	return p.token == nil && p.base != nil && p.refused(kindChangePort)
}

// show gives the probe a token that came late: what the server has refused
// without one is asked for again.
func (p *probe) show(token []byte) {
	p.until = time.Time{}
	if token == nil || p.token != nil {
		return
	}
	again := p.base != nil && p.refused(kindChangePort)
	p.token = token
	if !again {
		return
	}
	p.tests = slices.DeleteFunc(p.tests, func(t *test) bool { return t.code != 0 && changes[t.kind] != 0 })
	for _, d := range p.doors {
		d.rounds, d.shut = 0, d.closed
	}
}

// list tells the probe which endpoints the server has: those that are new are
// asked, too.
func (p *probe) list(own []netip.AddrPort, now time.Time) {
	for _, ep := range own {
		if slices.Contains(p.own, ep) {
			continue
		}
		for s := range p.sockets() {
			if s < p.mapping || p.reserved && s >= p.mapping+p.filtering {
				p.add(kindMapping, now.Add(time.Duration(s%p.mapping)*stagger), s, ep, ep, sendAt[:], lastWait)
			}
		}
	}
	p.own = own
}

// claim returns the endpoints of another address that the server claims to have
// (OTHER-ADDRESS) and that nobody listed, if any.
func (p *probe) claim() []netip.AddrPort {
	for _, t := range p.tests {
		other := p.through(t.other)
		if t.kind != kindMapping || !other.IsValid() || other.Addr() == t.to.Addr() || !slices.Contains(p.own, t.to) ||
			public(t.to.Addr()) && !public(other.Addr()) || len(p.own) >= maxEndpoints {
			continue
		}
		var out []netip.AddrPort
		for _, ep := range []netip.AddrPort{netip.AddrPortFrom(other.Addr(), t.to.Port()), other, netip.AddrPortFrom(t.to.Addr(), other.Port())} {
			if !slices.Contains(p.own, ep) && !slices.Contains(p.declined, ep) {
				out = append(out, ep)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}
