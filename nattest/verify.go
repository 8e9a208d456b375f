package nattest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// parallelURLs bounds how many URLs are verified at the same time: each takes
// two allocations of one user's quota.
const parallelURLs = 8

// survey is how TURN is to be verified.
type survey struct {
	stun      []netip.AddrPort // endpoints of the server, for the loop from outside
	server    []netip.Addr     // addresses of the server
	addresses int              // of a name, in each family
	measure   bool             // channels, quality, path MTU and throughput, too
	enough    time.Time        // from then on one that works, from outside too, will do; the zero time is never
}

// subject is one URL at one address.
type subject struct {
	u    turnURL
	addr netip.Addr
	err  error // of the name's look-up
	more bool  // the name has other addresses, too
}

// subjects lists each URL at each address of its host that is to be tested.
func (c *Config) subjects(ctx context.Context, urls []turnURL, each int) (out []subject) {
	type answer struct {
		addrs []netip.Addr
		err   error
	}
	known := map[string]answer{}
	for _, u := range urls {
		a, ok := known[u.Host]
		if !ok {
			a.addrs, a.err = c.lookup(ctx, u.Host)
			known[u.Host] = a
		}
		if a.err != nil {
			out = append(out, subject{u: u, err: a.err})
			continue
		}
		var kept []netip.Addr
		for _, is := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
			n := 0
			for _, addr := range a.addrs {
				if is(addr) && n < each {
					kept, n = append(kept, addr), n+1
				}
			}
		}
		for _, addr := range kept {
			out = append(out, subject{u: u, addr: addr, more: len(kept) > 1})
		}
	}
	return out
}

// verifyTURN verifies each URL at each of its addresses, some at a time. What
// failed has no hint yet.
func (c *Config) verifyTURN(ctx context.Context, f facts, s survey) []URLReport {
	todo := c.subjects(ctx, f.urls, s.addresses)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make([]URLReport, len(todo))
	slots := make(chan struct{}, parallelURLs)
	line := make(chan struct{}, 1)
	var wg sync.WaitGroup
	for i, t := range todo {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			v := verification{c: c, survey: s, subject: t, line: line, last: time.Now()}
			v.first = i == 0 || todo[i-1].u != t.u
			v.rep = URLReport{
				URL: t.u.String(), Stages: []Stage{}, State: "ok", test: t.u, shared: t.more, server: s.server,
				Loops: Loops{RelayToRelay: untried(), SocketToRelay: untried()},
			}
			v.run(ctx)
			out[i] = v.rep
			if v.rep.State == "ok" && v.rep.Loops.SocketToRelay.State == "ok" && !s.enough.IsZero() {
				time.AfterFunc(time.Until(s.enough), func() { cancel(errLate) })
			}
		})
	}
	wg.Wait()
	return out
}

// verification is the verification of one URL at one address.
type verification struct {
	c *Config
	survey
	subject
	first bool          // of the URL's addresses
	line  chan struct{} // full while one of them fills the line
	rep   URLReport
	last  time.Time // when the stage before ended
}

func (v *verification) step(stage string) {
	now := time.Now()
	v.rep.Stages = append(v.rep.Stages, Stage{Name: stage, State: "ok", MS: ms(now.Sub(v.last))})
	v.last = now
}

func (v *verification) fail(f *fault) {
	v.c.Log.Debug("nattest: turn", "url", v.rep.URL, "stage", f.stage, "reason", f.reason)
	v.rep.Failed, v.rep.Code, v.rep.Reason = f.stage, f.code, f.reason
	var noWay errNoWay
	if v.rep.State = "failed"; errors.As(f.err, &noWay) || errors.Is(f.err, syscall.ENETUNREACH) || errors.Is(f.err, errLate) || errors.Is(f.err, context.Canceled) {
		v.rep.State = "not_tested" // it says nothing about the server
	} else {
		v.rep.fault = f
	}
	v.rep.Stages = append(v.rep.Stages, Stage{Name: f.stage, State: v.rep.State, MS: ms(time.Since(v.last)), Detail: f.reason})
}

func (v *verification) run(ctx context.Context) {
	if v.err != nil {
		v.fail(&fault{stage: "dns", reason: plain(v.err), err: v.err})
		return
	}
	v.step("dns")
	v.rep.Address = netip.AddrPortFrom(v.addr, uint16(v.u.Port))
	pair, f := v.open(ctx)
	defer twice(func(i int) *fault {
		if pair[i] != nil {
			pair[i].release(ctx)
		}
		return nil
	})
	if f == nil {
		f = v.relay(ctx, pair)
	}
	if f != nil {
		v.fail(f)
		return
	}
	v.rep.Loops.SocketToRelay = v.outside(ctx, pair)
	if v.measure {
		v.rep.Measured = measure(ctx, v.line, v.first, pair)
	}
}

// open makes two allocations.
func (v *verification) open(ctx context.Context) (pair [2]*allocation, f *fault) {
	f = twice(func(i int) *fault {
		step := v.step
		if i == 1 { // the second allocation goes through the same stages
			step = func(string) {}
		}
		l, stage, err := v.c.open(ctx, v.u, v.rep.Address)
		if err != nil {
			if ctx.Err() != nil {
				err = errLate
			}
			return &fault{stage: stage, at: v.rep.Address, reason: plain(err), err: err}
		}
		step("connect")
		if stage == "tls" {
			step("tls")
		}
		pair[i] = &allocation{link: l, dialog: dialog{username: v.u.username, password: v.u.password}}
		f := pair[i].allocate(ctx, step)
		if f != nil {
			f.at = v.rep.Address
			if i == 1 {
				f.reason = "a second allocation: " + f.reason
			}
		}
		return f
	})
	return pair, f
}

// relay sends a packet from one allocation to the other and back: the first
// loop.
func (v *verification) relay(ctx context.Context, pair [2]*allocation) *fault {
	loop := &v.rep.Loops.RelayToRelay
	if f := twice(func(i int) *fault { return pair[i].permit(ctx, pair[1-i].relayed) }); f != nil {
		return f
	}
	v.step("permission")
	if v.measure {
		if f := twice(func(i int) *fault { return pair[i].bind(ctx, pair[1-i].relayed) }); f != nil {
			return f
		}
		v.step("channel")
	}
	there, err := cross(ctx, pair[0], pair[1])
	if err == nil {
		var back time.Duration
		back, err = cross(ctx, pair[1], pair[0])
		v.rep.RTTMS = ms(there + back)
	}
	if err != nil {
		v.rep.RTTMS = 0
		why := fmt.Sprintf("a packet from relay %s to relay %s did not arrive: %s", pair[0].relayed, pair[1].relayed, plain(err))
		*loop = LoopReport{State: "failed", Why: why}
		if errors.Is(err, errLate) {
			loop.State = "not_tested"
		}
		return &fault{stage: "data", err: err, reason: why}
	}
	v.step("data")
	*loop = LoopReport{State: "ok", RTTMS: v.rep.RTTMS}
	return nil
}

// outside is the second loop, for both relays at the same time.
func (v *verification) outside(ctx context.Context, pair [2]*allocation) LoopReport {
	o := peerLoop{v.c, v.stun, v.survey.server}
	var r [2]LoopReport
	twice(func(i int) *fault { r[i] = o.loop(ctx, pair[i]); return nil })
	v.rep.relayed, v.rep.mapped = pair[0].relayed.Addr(), slices.Clone([]netip.Addr{pair[0].mapped.Addr(), pair[1].mapped.Addr()})
	return both(r[0], r[1])
}
