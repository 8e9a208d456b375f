package nattest

import "math/bits"

// end is what counts of one peer's NAT when two peers look for a direct way: a
// mapping and a filtering behavior that the evidence allows.
type end struct {
	mapping, filter behaviors // one bit each
	disturbed       bool      // an unsolicited packet changes the mapping towards its sender
	doubtful        bool      // whether it does is not known
	pooled          bool      // packets come from several public addresses
}

// loose says that packets get in from a port that they were not sent to.
func (e end) loose() bool { return e.filter == eim || e.filter == adm }

// cell is the pair matrix: what ICE (RFC 8445) achieves between two NATs with
// server-reflexive candidates alone. docs/nat.md has what it was measured
// against.
func cell(a, b end) string {
	if a.mapping == eim && b.mapping != eim {
		a, b = b, a
	}
	switch {
	case a.mapping == eim && b.mapping == eim:
		return punch(a, b)
	case b.mapping == eim && a.pooled && b.filter != eim && a.filter != eim:
		return unlikelyDirect // packets seldom come from the address that b was told
	case b.mapping == eim && b.loose():
		return direct // a's packets get in from whatever port, and are answered there
	case a.filter == eim && b.filter == eim, a.filter == eim && b.mapping == eim:
		return likelyDirect
	case b.mapping == eim:
		return relayNeeded // b awaits a's packets from a port that they do not come from
	case a.filter == eim || b.filter == eim:
		return likelyDirect
	}
	return relayNeeded
}

// punch is the outcome where both keep their mapping: each sends to the
// address that the other was told, and what arrives too early does no harm,
// unless it changes a mapping.
func punch(a, b end) string {
	switch {
	case a.disturbed && b.disturbed:
		return unlikelyDirect
	case a.disturbed && !b.loose(), b.disturbed && !a.loose():
		return Unknown
	case a.doubtful && !b.loose(), b.doubtful && !a.loose():
		return likelyDirect
	}
	return direct
}

// ends lists every combination that a family's evidence allows.
func (f *Family) ends() (out []end) {
	for m := eim; m <= apdm; m <<= 1 {
		for t := eim; t <= apdm; t <<= 1 {
			if named(f.Mapping.Possible)&m != 0 && named(f.Filtering.Possible)&t != 0 {
				racy := m == eim && t == apdm && f.NAT != "no"
				out = append(out, end{
					mapping: m, filter: t,
					disturbed: racy && f.InboundDisturbs == "yes",
					doubtful:  racy && f.InboundDisturbs != "yes" && f.InboundDisturbs != "no",
					pooled:    f.Pooling == "arbitrary",
				})
			}
		}
	}
	return out
}

// named is the set of the behaviors that a report names; none is any.
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
	if bits.OnesCount8(uint8(b)) == 0 {
		return anyBehavior
	}
	return b
}

// combine makes one prediction of those of all combinations.
func combine(found map[string]bool) string {
	good, bad := found[direct] || found[likelyDirect], found[relayNeeded] || found[unlikelyDirect]
	switch {
	case found[Unknown] || good == bad:
		return Unknown
	case len(found) == 2 && good:
		return likelyDirect
	case len(found) == 2:
		return unlikelyDirect
	}
	for word := range found {
		return word
	}
	return Unknown
}
