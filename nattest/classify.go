package nattest

import (
	"math"
	"math/bits"
	"net/netip"
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

// named is the set of the behaviors with these names; none is any.
func named(names []string) (b behaviors) {
	for _, n := range names {
		switch n {
		case EndpointIndependent:
			b |= eim
		case AddressDependent:
			b |= adm
		case AddressAndPortDependent:
			b |= apdm
		}
	}
	if b == 0 {
		return anyBehavior
	}
	return b
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
	}
	m.split = both == 0
	inferred := false
	if overloaded(trials) && both&eim == 0 && !f.perFlow {
		// Flows of two sockets met on one port, so others may have had to make way.
		m.split, both, either, agree = true, 0, either|eim, nil
	}
	need, best := max(1, (2*len(trials)+2)/3), behaviors(0)
	for _, b := range []behaviors{eim, adm, apdm} {
		if agree[b] >= need {
			best = b
		}
	}
	if f.perFlow && f.NAT == "yes" { // no NAT that is endpoint-independent does that
		if both &^= eim; both == 0 {
			both = either &^ eim
		}
		if both == 0 {
			both = adm | apdm
		}
	}
	switch {
	case f.NAT == "no" && both&eim != 0 && answered(trials) >= need:
		best, both = eim, eim // the server sees the socket's own address
	case f.perFlow && (m.split || best == eim):
		best = 0 // chance decides what each trial looks like
	case best == 0 && both == eim|adm && f.PortPreservation == "yes" && f.Pooling == "paired" && agree[eim|adm] >= need:
		best, inferred = eim, true
		m.Caveats = append(m.Caveats, "the server was seen on one address only; that the NAT keeps the source port in every trial speaks for endpoint-independent mapping, a second address would prove it")
	}
	if m.split {
		if both == 0 {
			both = either
		}
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

// overloaded says that two sockets were given the same public port.
func overloaded(trials []Trial) bool {
	owner := map[netip.AddrPort]netip.AddrPort{}
	for _, t := range trials {
		for _, a := range t.Answers {
			if first, seen := owner[a.Mapped]; a.Mapped.IsValid() && seen && first != t.Local {
				return true
			}
			owner[a.Mapped] = t.Local
		}
	}
	return false
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
