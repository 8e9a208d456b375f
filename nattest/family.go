package nattest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// answered counts the trials with an answer.
func answered(trials []Trial) (n int) {
	for _, t := range trials {
		if slices.ContainsFunc(t.Answers, func(a Answer) bool { return a.Mapped.IsValid() }) {
			n++
		}
	}
	return n
}

// classify judges an observation. alive says that the server answered by other
// means than this family's UDP, so that silence means something.
func classify(o observation, alive bool) Family {
	f := Family{
		UDP: NotTested, Why: o.why, NAT: Unknown, Pooling: Unknown, PortPreservation: Unknown, NAT64: Unknown,
		Hairpin: Hairpin{State: NotTested}, Lifetime: Lifetime{State: NotTested}, Fragments: Fragments{State: NotTested}, ALG: ALG{State: NotTested},
		Endpoints: []Endpoint{}, Mapped: []Mapped{}, Trials: o.trials, Evidence: o.evidence,
		Stable: stable(o.evidence), Loss: lossShare(o.evidence), Filtering: filtering(o.tally),
	}
	if f.Trials == nil {
		f.Trials = []Trial{}
	}
	if f.Evidence == nil {
		f.Evidence = []Evidence{}
	}
	if f.InboundDisturbs = disturbs(o.evidence, o.trials, o.tally); o.disturbs != "" {
		f.InboundDisturbs = o.disturbs
	}
	if o.why == "" {
		f.count(o.trials)
		f.reach(alive, o.own)
		f.compare(o.trials)
		f.pooled(o.evidence)
		f.NAT = cmp.Or(o.nat, f.NAT)
	}
	f.Mapping = mapping(o.trials, f)
	f.Mapping.Caveats = append(f.Mapping.Caveats, o.notes...)
	if why := f.distrust(o.trials); why != "" {
		f.NAT, f.InboundDisturbs = Unknown, NotTested
		f.Mapping.Behavior, f.Mapping.Possible = Unknown, anyBehavior.names()
		f.Mapping.Confidence, f.Mapping.Level = 0, level(0)
		f.Mapping.Caveats = append(f.Mapping.Caveats, why)
		f.Filtering = Filtering{Behavior: Unknown, Possible: anyBehavior.names(), Level: level(0), Rounds: f.Filtering.Rounds}
	}
	f.Classic = f.classicName()
	f.Verdict = f.judge()
	return f
}

// count fills what was asked, answered and seen.
func (f *Family) count(trials []Trial) {
	seen := map[netip.Addr]int{}
	for _, t := range trials {
		for _, a := range t.Answers {
			i := slices.IndexFunc(f.Endpoints, func(e Endpoint) bool { return e.Endpoint == a.Endpoint })
			if i < 0 {
				i, f.Endpoints = len(f.Endpoints), append(f.Endpoints, Endpoint{Endpoint: a.Endpoint})
			}
			e := &f.Endpoints[i]
			e.Asked++
			if !a.Mapped.IsValid() {
				continue
			}
			e.Answered++
			seen[a.Mapped.Addr()]++
			e.RTTMS, f.RTTMS = least(e.RTTMS, a.RTTMS), least(f.RTTMS, a.RTTMS)
		}
	}
	for a, n := range seen {
		f.Mapped = append(f.Mapped, Mapped{a, n})
	}
	slices.SortFunc(f.Mapped, func(a, b Mapped) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), a.Address.Compare(b.Address))
	})
}

func least(a, b float64) float64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// reach says whether UDP came back, of all endpoints of the server or of some;
// nil is all that were asked.
func (f *Family) reach(alive bool, own []netip.AddrPort) {
	silent, all := 0, 0
	for _, e := range f.Endpoints {
		if own != nil && !slices.Contains(own, e.Endpoint) {
			continue
		}
		if all++; e.Answered == 0 {
			silent++
		}
	}
	switch {
	case silent == 0:
		f.UDP = "ok"
	case silent < all:
		f.UDP = "partial"
	case alive:
		f.UDP = "blocked"
	default:
		f.UDP = "no_answer"
	}
}

// compare sets the mapped addresses beside the sockets' own.
func (f *Family) compare(trials []Trial) {
	answers, own, kept, pool := 0, 0, 0, false
	for _, t := range trials {
		first := netip.Addr{}
		for _, a := range t.Answers {
			if !a.Mapped.IsValid() {
				continue
			}
			answers++
			if a.Mapped == t.Local {
				own++
			}
			if a.Mapped.Port() == t.Local.Port() {
				kept++
			}
			if first.IsValid() && first != a.Mapped.Addr() {
				pool, f.perFlow = true, true
			}
			first = a.Mapped.Addr()
		}
	}
	if answers > 0 {
		f.NAT64 = "no"
	}
	switch {
	case answers == 0:
		return
	case pool || len(f.Mapped) > 1:
		f.Pooling = "arbitrary"
	case answers > 1:
		f.Pooling = "paired"
	}
	f.NAT, f.PortPreservation = "yes", "no"
	if own == answers {
		f.NAT = "no"
	}
	if kept == answers {
		f.PortPreservation = "yes"
	}
}

// pooled learns from the other sockets, too, whether the NAT has several
// addresses, and from each whether it uses several for one socket.
func (f *Family) pooled(ev []Evidence) {
	first, bySocket := netip.Addr{}, map[int]netip.Addr{}
	for _, e := range ev {
		a := e.Mapped.Addr()
		if !e.counts() || !a.IsValid() {
			continue
		}
		if e.Kind != kindAgain && bySocket[e.Socket].IsValid() && bySocket[e.Socket] != a {
			f.perFlow = true
		}
		if first.IsValid() && first != a {
			f.Pooling = "arbitrary"
		}
		first, bySocket[e.Socket] = a, a
		if e.Kind == kindControl && e.Mapped.Port() != e.Local.Port() && f.PortPreservation == "yes" {
			f.PortPreservation = "no"
		}
		if a.Is4() && e.To.Addr().Is6() {
			f.NAT64 = "yes"
		}
	}
}

// distrust tells when the server cannot have seen the NAT's outside: a public
// server that reports a private address sits behind a proxy of its own.
func (f *Family) distrust(trials []Trial) string {
	for _, t := range trials {
		for _, a := range t.Answers {
			if a.Mapped.IsValid() && a.Mapped != t.Local && public(a.Endpoint.Addr()) && !public(a.Mapped.Addr()) {
				return fmt.Sprintf("the server says that it sees this machine as %s, which is no public address: something in front of the server (a container's port proxy?) hides where packets come from", a.Mapped.Addr())
			}
		}
	}
	return ""
}

var sharedSpace = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10) // RFC 6598

// public says whether an address can be reached from elsewhere.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a)
}
