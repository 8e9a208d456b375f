package nattest

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v3"
)

// parallelURLs bounds how many URLs are verified at the same time: each takes
// two allocations of one user's quota.
const parallelURLs = 4

// relay sums up how the TURN URLs did.
func relay(f facts, urls []URLReport) Relay {
	r := Relay{State: "not_tested", URLs: urls}
	switch {
	case f.base == "":
		r.Why = "the server's HTTP API does not answer"
	case f.refusal != "":
		r.Why = f.refusal
	case len(f.urls) == 0:
		r.Why = errNoURL.Error()
	default:
		r.Why = "none of its URLs can be tested from here"
	}
	for _, u := range r.URLs {
		if u.State == "ok" || u.State == "failed" && r.State != "ok" {
			r.State, r.Why = u.State, ""
		}
	}
	return r
}

// verifyURLs verifies the URLs a few at a time, in the server's order. then is
// called with a working allocation of each before it is released; nil is no
// call. What failed has no hint yet.
func (c *Config) verifyURLs(ctx context.Context, f facts, then func(ctx context.Context, i int, a *allocation)) []URLReport {
	out := make([]URLReport, len(f.urls))
	slots := make(chan struct{}, parallelURLs)
	var wg sync.WaitGroup
	for i, u := range f.urls {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			v := verification{c: c, u: u, last: time.Now(), rep: URLReport{URL: u.String(), Stages: []Stage{}, State: "ok", test: u}}
			if then != nil {
				v.then = func(a *allocation) { then(ctx, i, a) }
			}
			v.run(ctx)
			out[i] = v.rep
		})
	}
	wg.Wait()
	return out
}

// verification is the verification of one URL.
type verification struct {
	c    *Config
	u    turnURL
	rep  URLReport
	last time.Time // when the stage before ended
	then func(*allocation)
}

func (v *verification) step(stage string) {
	now := time.Now()
	v.rep.Stages = append(v.rep.Stages, Stage{Name: stage, State: "ok", MS: ms(now.Sub(v.last))})
	v.last = now
}

func (v *verification) fail(f *fault) {
	v.c.Log.Debug("nattest: turn", "url", v.rep.URL, "stage", f.stage, "reason", f.reason)
	v.rep.Stages = append(v.rep.Stages, Stage{Name: f.stage, State: "failed", MS: ms(time.Since(v.last)), Detail: f.reason})
	v.rep.State, v.rep.Failed, v.rep.Code, v.rep.Reason = "failed", f.stage, f.code, f.reason
	v.rep.fault = f
}

func (v *verification) run(ctx context.Context) {
	if v.u.IsSecure() && v.u.Proto == stun.ProtoTypeUDP {
		v.rep.State, v.rep.Reason = "not_tested", "TURN over DTLS"
		return
	}
	addrs, err := v.c.lookup(ctx, v.u.Host)
	if err != nil {
		v.fail(&fault{stage: "dns", reason: plain(err), err: err})
		return
	}
	v.step("dns")
	pair, f := v.open(ctx, addrs)
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
	} else if v.then != nil {
		v.then(pair[0])
	}
}

// open makes two allocations at the same address: the first one of the host's
// that can be connected to.
func (v *verification) open(ctx context.Context, addrs []netip.Addr) (pair [2]*allocation, f *fault) {
	for try, addr := range addrs {
		f = twice(func(i int) *fault {
			var step func(string)
			if step = v.step; i == 1 { // the second allocation goes through the same stages
				step = func(string) {}
			}
			at := netip.AddrPortFrom(addr, uint16(v.u.Port))
			l, stage, err := v.c.open(ctx, v.u, at)
			if err != nil {
				return &fault{stage: stage, at: at, reason: plain(err), err: err}
			}
			step("connect")
			if stage == "tls" {
				step("tls")
			}
			a := &allocation{link: l, dialog: dialog{username: v.u.username, password: v.u.password}}
			context.AfterFunc(ctx, func() { l.Close() })
			pair[i] = a
			f := a.allocate(ctx, step)
			if f != nil {
				f.at = at
			}
			if f != nil && i == 1 {
				f.reason = "a second allocation: " + f.reason
			}
			return f
		})
		if f == nil || f.stage != "connect" || try == 1 || pair[0] != nil || pair[1] != nil {
			break
		}
	}
	return pair, f
}

// relay sends a packet from one allocation to the other and back.
func (v *verification) relay(ctx context.Context, pair [2]*allocation) *fault {
	if f := twice(func(i int) *fault { return pair[i].permit(ctx, pair[1-i].relayed) }); f != nil {
		return f
	}
	v.step("permission")
	there, err := cross(ctx, pair[0], pair[1])
	if err == nil {
		var back time.Duration
		back, err = cross(ctx, pair[1], pair[0])
		v.rep.RTTMS = ms(there + back)
	}
	if err != nil {
		v.rep.RTTMS = 0
		return &fault{stage: "relay", err: err, reason: fmt.Sprintf(
			"a packet from relay %s to relay %s did not arrive: %s", pair[0].relayed, pair[1].relayed, plain(err))}
	}
	v.step("relay")
	return nil
}
