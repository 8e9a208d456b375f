package nattest

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/stun/v3"
)

// idle lists the idle times that are tried: close together around the timers
// that NATs have (30 s, 1, 2, 3, 5 min), and else a quarter apart.
var idle = [...]time.Duration{2e9, 3e9, 4e9, 5e9, 7e9, 9e9, 11e9, 13e9, 16e9, 20e9, 25e9, 29e9, 32e9, 40e9, 50e9, 58e9, 63e9, 80e9, 100e9, 118e9, 124e9, 150e9, 178e9, 186e9, 240e9, 295e9, 310e9, 400e9, 500e9, 600e9}

// streamAt is when a mapping is used that is to count as a stream.
var streamAt = [...]time.Duration{0, 1100 * time.Millisecond, 2300 * time.Millisecond}

const (
	supported = 200 * time.Millisecond // the idle time that every NAT survives: shows that RESPONSE-PORT works
	spacing   = 60 * time.Millisecond  // between the first requests of two mappings
)

// rung is one mapping, left alone for one idle time and then looked at once.
type rung struct {
	socket int
	stream bool
	after  time.Duration
	primes []*ask
	used   time.Time // when the mapping was used last
	mapped netip.AddrPort
	look   *ask    // asks the server, from another socket, to send to the mapping
	trial  *paired // look beside its controls
	state  rungState
	gone   time.Duration // idle time after which it was not there, if dead
}

type rungState int

const (
	primed rungState = iota // being used, or idle
	looked                  // being looked at
	alive
	dead
	void // says nothing, or need not be looked at
)

// lifetimeTest measures both timers. Socket 0 asks for the looks; every other
// one has a mapping of its own, so that all idle times pass at once.
type lifetimeTest struct {
	asks
	request requester
	server  netip.AddrPort
	rungs   []*rung // the first has the idle time supported
	refused int     // error code of the server's answer to a look
	tell    func(string)
}

func newLifetime(now time.Time, server netip.AddrPort, limit time.Duration, request requester, tell func(string)) *lifetimeTest {
	t := &lifetimeTest{request: request, server: server, tell: tell}
	t.prime(now, supported, false)
	for _, d := range slices.Backward(ladder(limit)) { // the longest first: the test takes as long as it does
		now = now.Add(spacing)
		t.prime(now, d, true)
		t.prime(now, d, false)
	}
	return t
}

// ladder lists the idle times to try up to a limit.
func ladder(limit time.Duration) (out []time.Duration) {
	for _, d := range idle {
		if d < limit {
			out = append(out, d)
		}
	}
	return append(out, limit)
}

// prime begins to use a fresh mapping.
func (t *lifetimeTest) prime(start time.Time, after time.Duration, stream bool) {
	r := &rung{socket: len(t.rungs) + 1, stream: stream, after: after}
	uses := streamAt[:1]
	if stream {
		uses = streamAt[:]
	}
	for _, at := range uses {
		r.primes = append(r.primes, t.add(t.request(), r.socket, t.server, start.Add(at), sendAt[:]...))
	}
	t.rungs = append(t.rungs, r)
}

func (t *lifetimeTest) next(now time.Time) (out []packet, wake time.Time, over bool) {
	for _, r := range t.rungs {
		t.step(r, now)
	}
	out, wake, over = t.asks.next(now)
	for _, r := range t.rungs {
		t.step(r, now) // what has just ended unanswered
		if r.state != primed || r.used.IsZero() {
			continue
		}
		wake, over = sooner(wake, r.used.Add(r.after)), false
	}
	return out, wake, over
}

// step takes a rung on: to its look when its idle time has passed, and to its
// end when that has been answered or should have been.
func (t *lifetimeTest) step(r *rung, now time.Time) {
	switch {
	case r.state == primed && !r.used.IsZero() && !now.Before(r.used.Add(r.after)):
		if r.state = looked; t.settled(r) {
			r.state = void
			return
		}
		port := r.mapped.Port()
		m := t.request(stun.RawAttribute{Type: stun.AttrResponsePort, Value: []byte{byte(port >> 8), byte(port), 0, 0}})
		r.trial = t.rounds(now, 0, t.server, t.request, m)
		r.look = r.trial.subjects[0]
	case r.state == primed && r.used.IsZero() && r.primes[len(r.primes)-1].done:
		r.state = void // too many of its requests or answers were lost
	case r.state == looked && r.look.done:
		r.state = void
		if r.trial.proves() && r.sameAddress() {
			r.state, r.gone = dead, r.look.at[rounds-1].Sub(r.used)
			t.tell(r.String() + " gone")
		}
	}
}

// settled says that the looks so far make that at r needless: RESPONSE-PORT
// does not work here, or two shorter idle times already ended such a mapping.
func (t *lifetimeTest) settled(r *rung) bool {
	if first := t.rungs[0].state; r != t.rungs[0] && (first == dead || first == void) {
		return true
	}
	n := 0
	for _, other := range t.rungs {
		if other.stream == r.stream && other.state == dead && other.after < r.after {
			n++
		}
	}
	return n >= 2
}

// sameAddress says that the looks were sent to the mapping's own address: the
// server answers to the address that it is asked from.
func (r *rung) sameAddress() bool {
	for _, c := range r.trial.controls {
		if m, ok := c.mapped(); ok && m.Addr() != r.mapped.Addr() {
			return false
		}
	}
	return true
}

func (r *rung) String() string {
	kind := "a mapping used once"
	if r.stream {
		kind = "a mapping in steady use"
	}
	return fmt.Sprintf("after %s idle, %s is", span(r.after), kind)
}

func (t *lifetimeTest) receive(raw []byte, from netip.AddrPort, socket int, now time.Time) bool {
	k, h := t.hear(raw, from, socket, now)
	if k == nil {
		return false
	}
	for _, r := range t.rungs {
		switch {
		case k == r.look && socket == r.socket && h.message.Type.Class == stun.ClassSuccessResponse:
			if r.state == looked {
				r.state = alive
				r.trial.settle(k)
				if r != t.rungs[0] {
					t.tell(r.String() + " still there")
				}
			}
		case k == r.look && h.message.Type.Class == stun.ClassErrorResponse:
			t.refused = cmp.Or(t.refused, k.refusal())
			r.state = void
			r.trial.settle(k)
		case slices.Contains(r.primes, k):
			k.done = true
			r.use(k, now)
		}
	}
	return true
}

// use notes the answer to a prime: the mapping is idle once all have theirs.
func (r *rung) use(k *ask, now time.Time) {
	mapped, ok := k.mapped()
	if !ok || r.mapped.IsValid() && r.mapped != mapped {
		r.state = void
		return
	}
	r.mapped = mapped
	if !slices.ContainsFunc(r.primes, func(p *ask) bool { _, ok := p.mapped(); return !ok }) {
		r.used = now
	}
}

// lifetime runs the test: a little longer than Config.Lifetime.
func (g *ground) lifetime(ctx context.Context, why string) Lifetime {
	if why == "" && g.family.Pooling == "arbitrary" {
		why = "the NAT draws from several public addresses, so another socket cannot ask for this one's"
	}
	test := "how long mappings live, " + span(g.c.Lifetime) + " at most"
	socks, why := g.sockets(ctx, test, why, 2+2*len(ladder(g.c.Lifetime)))
	if why != "" {
		return Lifetime{State: NotTested, Why: why}
	}
	g.token.refresh(ctx)
	t := newLifetime(time.Now(), g.server, g.c.Lifetime, g.request, g.c.Progress)
	fresh, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { g.token.keep(fresh) })
	g.c.drive(ctx, t, socks)
	stop()
	wg.Wait()
	l := t.conclude()
	if ctx.Err() != nil && l.State == Unknown {
		l.Why = "it was interrupted"
	}
	return l
}
