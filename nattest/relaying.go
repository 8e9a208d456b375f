package nattest

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

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
	if r.State != "ok" {
		return r
	}
	// Where one relay port is reached from outside, what keeps another URL's
	// from it is in that URL.
	reached := func(u URLReport) bool { return u.Loops.SocketToRelay.State == "ok" }
	if i := slices.IndexFunc(urls, func(u URLReport) bool { return u.Loops.SocketToRelay.State == "failed" }); i >= 0 && !slices.ContainsFunc(urls, reached) {
		l := urls[i].Loops.SocketToRelay
		r.Why = "only between two relays of this server: " + l.Why
		r.Hint = l.Hint
	}
	return r
}

// heavyLoss is the share of lost round trips from which silence proves nothing:
// one of the dozen requests of a verification may then go unanswered for good.
const heavyLoss = 0.25

// doubt takes back that TURN failed, where every URL failed by silence alone and
// so many packets get lost that this may be why.
func (r *Relay) doubt(loss float64) {
	broken := func(u URLReport) bool { return u.State == "failed" && (u.fault == nil || !timedOut(u.fault.err)) }
	if r.State != "failed" || loss < heavyLoss || slices.ContainsFunc(r.URLs, broken) {
		return
	}
	r.State = NotTested
	r.Why = fmt.Sprintf("of 100 requests here %.0f get no answer, so that silence of TURN proves nothing", 100*loss)
	r.Hint = "run the test again, or find out where packets get lost"
}

// best keeps one report of each URL: that of the first address that works, else
// of the first that failed. What is wrong with the other addresses is noted.
func best(all []URLReport) []URLReport {
	out := []URLReport{}
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].test == all[0].test {
			n++
		}
		of := all[:n]
		all = all[n:]
		chosen := 0
		for _, state := range []string{"failed", "ok"} {
			if i := slices.IndexFunc(of, func(u URLReport) bool { return u.State == state }); i >= 0 {
				chosen = i
			}
		}
		u := of[chosen]
		for i, other := range of {
			if i != chosen && other.State == "failed" && u.State == "ok" {
				u.Notes = append(u.Notes, "at "+other.Address.String()+" it fails at "+other.Failed+": "+other.Reason)
			}
		}
		out = append(out, u)
	}
	return out
}

// explain gives what failed its hint, once everything else is known. seen are
// the addresses that the server saw this machine from.
func explain(urls []URLReport, facts *facts, seen []netip.Addr) {
	for _, u := range urls {
		seen = append(seen[:len(seen):len(seen)], u.mapped...)
	}
	for i := range urls {
		u := &urls[i]
		if u.fault != nil {
			u.Hint = hint(u.fault, u.test, facts, time.Now())
		}
		u.Loops.SocketToRelay.doubt(seen)
		u.Loops.SocketToRelay.explain(u.relayed, facts, u.server)
	}
}

// seen lists the addresses that the server saw this machine from.
func (o observation) seen() (out []netip.Addr) {
	for _, t := range o.trials {
		for _, a := range t.Answers {
			if m := a.Mapped.Addr(); m.IsValid() && !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out
}
