package nattest

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"
)

// behaviors is a set of mapping behaviors that some evidence allows.
type behaviors uint8

const (
	eim behaviors = 1 << iota
	adm
	apdm
	anyBehavior = eim | adm | apdm
)

func (b behaviors) names() []string {
	out := []string{}
	for i, n := range []string{EndpointIndependent, AddressDependent, AddressAndPortDependent} {
		if b&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return out
}

func (b behaviors) single() bool { return bits.OnesCount8(uint8(b)) == 1 }

// possible is what one socket's answers allow (RFC 5780 section 4.3). Only
// answers are compared, so a missing one leaves more behaviors possible.
func (t Trial) possible() behaviors {
	var samePortsEqual, addrsEqual, addrsDiffer bool
	for i, a := range t.Answers {
		for _, b := range t.Answers[i+1:] {
			if !a.Mapped.IsValid() || !b.Mapped.IsValid() {
				continue
			}
			equal := a.Mapped == b.Mapped
			switch same := a.Endpoint.Addr() == b.Endpoint.Addr(); {
			case same && !equal:
				return apdm // another port of the same address is mapped differently
			case same:
				samePortsEqual = true
			case equal:
				addrsEqual = true
			default:
				addrsDiffer = true
			}
		}
	}
	switch {
	case addrsDiffer && samePortsEqual:
		return adm
	case addrsDiffer:
		return adm | apdm
	case addrsEqual:
		return eim
	case samePortsEqual:
		return eim | adm // one address cannot tell them apart
	}
	return anyBehavior
}

// mapping combines the trials. A behavior is named when two thirds of the
// trials show it, each alone; a trial that shows another makes it a split.
func mapping(trials []Trial, f Family) Mapping {
	m := Mapping{Votes: map[string]int{}}
	both, either, agree := anyBehavior, behaviors(0), map[behaviors]int{}
	for _, t := range trials {
		b := t.possible()
		if m.Votes[voteName(b)]++; b == anyBehavior {
			continue
		}
		both, either = both&b, either|b
		agree[b]++
		if b&eim == 0 {
			m.nonEIM++
		}
	}
	need, best := max(1, (2*len(trials)+2)/3), behaviors(0)
	for _, b := range []behaviors{eim, adm, apdm} {
		if agree[b] >= need {
			best = b
		}
	}
	m.split = both == 0
	inferred := false
	switch {
	case f.NAT == "no" && both&eim != 0 && answered(trials) >= need:
		best, both = eim, eim // the server sees the socket's own address
	case m.split && f.Pooling == "arbitrary":
		best = 0 // chance decides what each trial looks like
	case best == 0 && both == eim|adm && f.PortPreservation == "yes" && agree[eim|adm] >= need:
		best, inferred = eim, true
		m.Caveats = append(m.Caveats, "the server was seen on one address only; that the NAT keeps the source port in every trial speaks for endpoint-independent mapping, a second address would prove it")
	}
	if m.split {
		both = either
		m.Caveats = append(m.Caveats, "the trials contradict each other: two flows met on one port, or the NAT changes its mappings")
	}
	m.Possible, m.Behavior = both.names(), Unknown
	if best != 0 {
		m.Behavior = best.names()[0]
		n := agree[best]
		switch {
		case f.NAT == "no":
			n = answered(trials)
		case inferred:
			n = agree[eim|adm]
		}
		m.Confidence = confidence(float64(n)/float64(len(trials)), m.split, inferred)
	} else if both == eim|adm && !m.split {
		m.Caveats = append(m.Caveats, "the server was seen on one address only, which cannot tell endpoint-independent from address-dependent mapping")
	}
	m.Level = level(m.Confidence)
	return m
}

// confidence is the share of agreeing trials, less where trials contradict or
// where one address had to do, and never certain: NATs change under load.
func confidence(share float64, split, inferred bool) float64 {
	c := 0.98 * share
	if split {
		c *= 0.7
	}
	if inferred {
		c *= 0.75
	}
	return math.Round(c*100) / 100
}

func level(c float64) string {
	switch {
	case c >= 0.85:
		return "high"
	case c >= 0.6:
		return "medium"
	case c > 0:
		return "low"
	}
	return "none"
}

func voteName(b behaviors) string {
	switch {
	case b.single():
		return b.names()[0]
	case b == eim|adm:
		return EndpointIndependent + " or " + AddressDependent
	case b == adm|apdm:
		return AddressDependent + " or " + AddressAndPortDependent
	}
	return Unknown
}

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
		UDP: "not_tested", Why: o.why, NAT: Unknown, Pooling: Unknown, PortPreservation: Unknown,
		Endpoints: []Endpoint{}, Mapped: []Mapped{}, Trials: o.trials, Filtering: Filtering{Behavior: "not_tested"},
	}
	if f.Trials == nil {
		f.Trials = []Trial{}
	}
	if o.why == "" {
		f.count(o.trials)
		f.reach(alive)
		f.compare(o.trials)
	}
	f.Mapping = mapping(o.trials, f)
	f.Mapping.Caveats = append(f.Mapping.Caveats, o.notes...)
	if why := f.distrust(o.trials); why != "" {
		f.NAT = Unknown
		f.Mapping.Behavior, f.Mapping.Possible = Unknown, anyBehavior.names()
		f.Mapping.Confidence, f.Mapping.Level = 0, level(0)
		f.Mapping.Caveats = append(f.Mapping.Caveats, why)
	}
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

// reach says whether UDP came back, of all endpoints or of some.
func (f *Family) reach(alive bool) {
	silent := 0
	for _, e := range f.Endpoints {
		if e.Answered == 0 {
			silent++
		}
	}
	switch {
	case silent == 0:
		f.UDP = "ok"
	case silent < len(f.Endpoints):
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
				pool = true
			}
			first = a.Mapped.Addr()
		}
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
