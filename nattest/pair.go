package nattest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"turnkey/nattest/around"
)

// What Match predicts, besides Unknown.
const (
	direct         = "direct"
	likelyDirect   = "likely_direct"
	unlikelyDirect = "unlikely"
	relayNeeded    = "relay_needed"
)

// apart is how far apart in time two reports may be without a caveat.
const apart = 24 * time.Hour

// Pair is what Match predicts of two peers. docs/nat.md describes its JSON.
type Pair struct {
	Schema     int        `json:"schema"`           // 1; members may be added to it
	Prediction string     `json:"prediction"`       // direct, likely_direct, unlikely, relay_needed or unknown
	Family     string     `json:"family,omitempty"` // v4 or v6: of the direct way, "" where none is predicted
	Reason     string     `json:"reason"`
	Advice     string     `json:"advice"`
	Caveats    []string   `json:"caveats"`
	A          Peer       `json:"a"`
	B          Peer       `json:"b"`
	V4         PairFamily `json:"v4"`
	V6         PairFamily `json:"v6"`
}

// Peer is what counts of one of the two reports.
type Peer struct {
	Time   time.Time `json:"time"`
	Server string    `json:"server"`
	V4     string    `json:"v4"` // signature, or what the report says of UDP
	V6     string    `json:"v6"`
	TURN   string    `json:"turn"` // ok, failed or not_tested
}

// PairFamily is the prediction for one family.
type PairFamily struct {
	Prediction string `json:"prediction"` // as of Pair
	Reason     string `json:"reason"`
	rare       bool   // it leaves out a behavior that is possible and rare
	untested   bool   // at one of the peers at least
}

// ExitCode is what the process should return: 0 direct, or likely so; 1 a relay
// is needed, or likely so; 4 nobody can tell.
func (p *Pair) ExitCode() int {
	switch p.Prediction {
	case direct, likelyDirect:
		return 0
	case relayNeeded, unlikelyDirect:
		return 1
	}
	return 4
}

// Match predicts from two reports whether their peers reach each other without
// a relay. It is pure: nothing is tested.
func Match(a, b *Report) *Pair {
	p := &Pair{Schema: 1, Caveats: []string{}, A: a.peer(), B: b.peer(), V4: matchFamily(&a.V4, &b.V4, shared(a, b)), V6: matchFamily(&a.V6, &b.V6, shared(a, b))}
	best, other, name := p.V4, p.V6, "v4"
	if p.V6.rank() > p.V4.rank() {
		best, other, name = p.V6, p.V4, "v6"
	}
	p.Prediction, p.Reason = best.Prediction, best.Reason
	if p.Prediction == direct || p.Prediction == likelyDirect {
		p.Family = name
	}
	p.advise()
	if best.rare {
		p.Caveats = append(p.Caveats, "address-dependent mapping was not ruled out, for it takes a server with two addresses; it is rare")
	}
	if other.untested && !best.untested && p.ExitCode() != 0 {
		p.Caveats = append(p.Caveats, "over the other address family, which was not tested at both, there may be a direct way")
	}
	p.relays(a, b)
	if d := a.Time.Sub(b.Time).Abs(); d > apart {
		p.Caveats = append(p.Caveats, fmt.Sprintf("the reports are %d hours apart: networks change", d/time.Hour))
	}
	return p
}

// rank orders predictions: one direct way suffices, and what was not tested at
// both is no way.
func (f PairFamily) rank() int {
	if f.untested {
		return -1
	}
	return slices.Index([]string{relayNeeded, unlikelyDirect, Unknown, likelyDirect, direct}, f.Prediction)
}

func (r *Report) peer() Peer {
	return Peer{r.Time, r.Server.Host, r.V4.signs("IPv4"), r.V6.signs("IPv6"), r.TURN.State}
}

// signs is the signature, or why there is none.
func (f *Family) signs(family string) string {
	switch {
	case f.UDP == NotTested:
		return family + " not tested"
	case f.UDP != "ok" && f.UDP != "partial":
		return family + " UDP " + strings.ReplaceAll(f.UDP, "_", " ")
	}
	return cmp.Or(f.Signature, family+" tested")
}

// shared says that a NAT with one public address may have several networks
// behind it: an operator's, or one behind another.
func shared(reports ...*Report) bool {
	return slices.ContainsFunc(reports, func(r *Report) bool {
		return r.Around != nil && (r.Around.CGN.State == around.Yes || r.Around.DoubleNAT.State == around.Yes)
	})
}

// matchFamily predicts for one family, without the other.
func matchFamily(a, b *Family, shared bool) PairFamily {
	came := func(f *Family) bool { return f.UDP == "ok" || f.UDP == "partial" }
	switch {
	case a.UDP == "blocked" || b.UDP == "blocked":
		return PairFamily{Prediction: relayNeeded, Reason: "UDP is blocked at one of the peers, so its way to a relay is TCP or TLS."}
	case !came(a) || !came(b):
		return PairFamily{Prediction: Unknown, untested: true, Reason: "At one of the peers this family was not tested, or nothing came back."}
	}
	if same := a.behindOne(b, shared); same != nil {
		return *same
	}
	all, usual := map[string]bool{}, map[string]bool{}
	for _, x := range a.ends() {
		for _, y := range b.ends() {
			word := cell(x, y)
			all[word] = true
			if a.usual(x) && b.usual(y) {
				usual[word] = true
			}
		}
	}
	out := PairFamily{Prediction: combine(all)}
	if word := combine(usual); out.Prediction != word {
		out = PairFamily{Prediction: word, rare: true}
		if word == direct {
			out.Prediction = likelyDirect
		}
	}
	if a.wavers() || b.wavers() {
		if out.Prediction == direct || out.Prediction == likelyDirect {
			return PairFamily{Prediction: Unknown, Reason: "One of the NATs did not keep to one behavior during its test, so direct connections come and go."}
		}
	}
	out.Reason = because(a, b, out.Prediction)
	return out
}

// usual leaves out address-dependent mapping where the only other possibility
// is endpoint-independent mapping, which is far more common.
func (f *Family) usual(e end) bool {
	return e.mapping != adm || named(f.Mapping.Possible) != eim|adm
}

// wavers says that the evidence for the mapping contradicts itself.
func (f *Family) wavers() bool {
	return f.Stable == "no" || f.Mapping.Votes[EndpointIndependent] > 0 &&
		f.Mapping.Votes[AddressDependent]+f.Mapping.Votes[AddressAndPortDependent]+f.Mapping.Votes[voteName(adm|apdm)] > 0
}

// behindOne predicts for two peers that one NAT translates; nil if there are
// two, or none.
func (f *Family) behindOne(other *Family, shared bool) *PairFamily {
	one := slices.ContainsFunc(f.Mapped, func(m Mapped) bool {
		return slices.ContainsFunc(other.Mapped, func(o Mapped) bool { return o.Address == m.Address })
	})
	switch {
	case !one || f.NAT == "no" || other.NAT == "no":
		return nil
	case f.Hairpin.State == "yes" && other.Hairpin.State == "yes":
		return &PairFamily{Prediction: likelyDirect, Reason: "Both are behind one NAT, which passes packets between them (hairpinning)."}
	case !shared && f.near(other):
		return &PairFamily{Prediction: likelyDirect, Reason: "Both are behind one NAT and their addresses are of one network, so they reach each other inside it if that lets them."}
	}
	return &PairFamily{Prediction: Unknown, Reason: "Both are seen from one public address: within one network they reach each other by its addresses, as customers of one provider only if its NAT passes packets between them (hairpinning, not tested)."}
}

// near says that sockets of both had addresses of one small network.
func (f *Family) near(other *Family) bool {
	bits := 24
	for _, t := range f.Trials {
		if t.Local.Addr().Is6() {
			bits = 64
		}
		for _, o := range other.Trials {
			if p, err := t.Local.Addr().Prefix(bits); err == nil && p.Contains(o.Local.Addr()) && t.Local.Addr() != o.Local.Addr() {
				return true
			}
		}
	}
	return false
}
