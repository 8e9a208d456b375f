package match

import (
	"slices"

	"turnkey/nattest"
)

// The behaviors of RFC 4787, of mapping and of filtering alike.
const (
	independent = nattest.EndpointIndependent
	onAddress   = nattest.AddressDependent
	onPort      = nattest.AddressAndPortDependent
)

// end is what counts of one peer's NAT when two peers look for a direct way: a
// mapping and a filtering behavior that the evidence allows.
type end struct {
	mapping, filter string
	disturbed       bool // an unsolicited packet changes the mapping towards its sender
	doubtful        bool // whether it does is not known
	pooled          bool // packets come from several public addresses
}

// loose says that packets get in from a port that they were not sent to.
func (e end) loose() bool { return e.filter == independent || e.filter == onAddress }

// cell is the pair matrix: what ICE (RFC 8445) achieves between two NATs with
// server-reflexive candidates alone. docs/nat.md has what it was measured
// against.
func cell(a, b end) string {
	if a.mapping == independent && b.mapping != independent {
		a, b = b, a
	}
	switch {
	case a.mapping == independent && b.mapping == independent:
		return punch(a, b)
	case b.mapping == independent && a.pooled && b.filter != independent && a.filter != independent:
		return unlikelyDirect // packets seldom come from the address that b was told
	case b.mapping == independent && b.loose():
		return direct // a's packets get in from whatever port, and are answered there
	case a.filter == independent && b.filter == independent, a.filter == independent && b.mapping == independent:
		return likelyDirect
	case b.mapping == independent:
		return relayNeeded // b awaits a's packets from a port that they do not come from
	case a.filter == independent || b.filter == independent:
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
		return nattest.Unknown
	case a.doubtful && !b.loose(), b.doubtful && !a.loose():
		return likelyDirect
	}
	return direct
}

// ends lists every combination that a family's evidence allows.
func ends(f *nattest.Family) (out []end) {
	for _, m := range possible(f.Mapping.Possible) {
		for _, t := range possible(f.Filtering.Possible) {
			racy := m == independent && t == onPort && f.NAT != "no"
			out = append(out, end{
				mapping: m, filter: t,
				disturbed: racy && f.InboundDisturbs == "yes",
				doubtful:  racy && f.InboundDisturbs != "yes" && f.InboundDisturbs != "no",
				pooled:    f.Pooling == "arbitrary",
			})
		}
	}
	return out
}

// possible lists the behaviors that a report names, each once; where it names
// none any is possible.
func possible(named []string) []string {
	all := []string{independent, onAddress, onPort}
	out := slices.DeleteFunc(slices.Clone(all), func(b string) bool { return !slices.Contains(named, b) })
	if len(out) == 0 {
		return all
	}
	return out
}

// combine makes one prediction of those of all combinations.
func combine(found map[string]bool) string {
	good, bad := found[direct] || found[likelyDirect], found[relayNeeded] || found[unlikelyDirect]
	switch {
	case found[nattest.Unknown] || good == bad:
		return nattest.Unknown
	case len(found) == 2 && good:
		return likelyDirect
	case len(found) == 2:
		return unlikelyDirect
	}
	for word := range found {
		return word
	}
	return nattest.Unknown
}
