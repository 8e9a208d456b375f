// Package match predicts from two reports of package nattest whether their peers
// reach each other without a relay. It does no I/O.
package match

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"turnkey/nattest"
	"turnkey/nattest/around"
)

// What is predicted, besides nattest.Unknown.
const (
	direct         = "direct"
	likelyDirect   = "likely_direct"
	unlikelyDirect = "unlikely"
	relayNeeded    = "relay_needed"
)

// apart is how far apart in time two reports may be without a caveat.
const apart = 24 * time.Hour

// Prediction is what is predicted of two peers. docs/nat.md describes its JSON.
type Prediction struct {
	Schema  int      `json:"schema"`           // 1; members may be added to it
	Outcome string   `json:"prediction"`       // direct, likely_direct, unlikely, relay_needed or unknown
	Family  string   `json:"family,omitempty"` // v4 or v6: of the direct way, "" where none is predicted
	Reason  string   `json:"reason"`
	Advice  string   `json:"advice"`
	Caveats []string `json:"caveats"`
	A       Peer     `json:"a"`
	B       Peer     `json:"b"`
	V4      Family   `json:"v4"`
	V6      Family   `json:"v6"`
}

// Peer is what counts of one of the two reports.
type Peer struct {
	Time   time.Time `json:"time"`
	Server string    `json:"server"`
	V4     string    `json:"v4"` // signature, or what the report says of UDP
	V6     string    `json:"v6"`
	TURN   string    `json:"turn"` // ok, failed or not_tested
}

// Family is the prediction for one address family.
type Family struct {
	Outcome  string `json:"prediction"` // as of Prediction
	Reason   string `json:"reason"`
	rare     bool   // it leaves out a behavior that is possible and rare
	untested bool   // at one of the peers at least
}

// ExitCode is what the process should return: 0 direct, or likely so; 1 a relay
// is needed, or likely so; 4 nobody can tell.
func (p *Prediction) ExitCode() int {
	switch p.Outcome {
	case direct, likelyDirect:
		return 0
	case relayNeeded, unlikelyDirect:
		return 1
	}
	return 4
}

// Predict predicts from two reports whether their peers reach each other without
// a relay. Nothing is tested.
func Predict(a, b *nattest.Report) *Prediction {
	shared := shared(a, b)
	p := &Prediction{Schema: 1, Caveats: []string{}, A: peer(a), B: peer(b), V4: predict(&a.V4, &b.V4, shared), V6: predict(&a.V6, &b.V6, shared)}
	best, other, name := p.V4, p.V6, "v4"
	if p.V6.rank() > p.V4.rank() {
		best, other, name = p.V6, p.V4, "v6"
	}
	p.Outcome, p.Reason = best.Outcome, best.Reason
	if p.Outcome == direct || p.Outcome == likelyDirect {
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
func (f Family) rank() int {
	if f.untested {
		return -1
	}
	return slices.Index([]string{relayNeeded, unlikelyDirect, nattest.Unknown, likelyDirect, direct}, f.Outcome)
}

func peer(r *nattest.Report) Peer {
	return Peer{r.Time, r.Server.Host, signs(&r.V4, "IPv4"), signs(&r.V6, "IPv6"), r.TURN.State}
}

// signs is the signature, or why there is none.
func signs(f *nattest.Family, family string) string {
	switch {
	case f.UDP == nattest.NotTested:
		return family + " not tested"
	case f.UDP != "ok" && f.UDP != "partial":
		return family + " UDP " + strings.ReplaceAll(f.UDP, "_", " ")
	}
	return cmp.Or(f.Signature, family+" tested")
}

// shared says that a NAT with one public address may have several networks
// behind it: an operator's, or one behind another.
func shared(reports ...*nattest.Report) bool {
	return slices.ContainsFunc(reports, func(r *nattest.Report) bool {
		return r.Around != nil && (r.Around.CGN.State == around.Yes || r.Around.DoubleNAT.State == around.Yes)
	})
}

// predict predicts for one family, without the other.
func predict(a, b *nattest.Family, shared bool) Family {
	came := func(f *nattest.Family) bool { return f.UDP == "ok" || f.UDP == "partial" }
	switch {
	case a.UDP == "blocked" || b.UDP == "blocked":
		return Family{Outcome: relayNeeded, Reason: "UDP is blocked at one of the peers, so its way to a relay is TCP or TLS."}
	case !came(a) || !came(b):
		return Family{Outcome: nattest.Unknown, untested: true, Reason: "At one of the peers this family was not tested, or nothing came back."}
	}
	if same := behindOne(a, b, shared); same != nil {
		return *same
	}
	all, common := map[string]bool{}, map[string]bool{}
	for _, x := range ends(a) {
		for _, y := range ends(b) {
			word := cell(x, y)
			all[word] = true
			if usual(a, x) && usual(b, y) {
				common[word] = true
			}
		}
	}
	out := Family{Outcome: combine(all)}
	if word := combine(common); out.Outcome != word {
		out = Family{Outcome: word, rare: true}
		if word == direct {
			out.Outcome = likelyDirect
		}
	}
	if wavers(a) || wavers(b) {
		if out.Outcome == direct || out.Outcome == likelyDirect {
			return Family{Outcome: nattest.Unknown, Reason: "One of the NATs did not keep to one behavior during its test, so direct connections come and go."}
		}
	}
	out.Reason = because(a, b, out.Outcome)
	return out
}

// usual leaves out address-dependent mapping where the only other possibility
// is endpoint-independent mapping, which is far more common.
func usual(f *nattest.Family, e end) bool {
	return e.mapping != onAddress || !slices.Equal(possible(f.Mapping.Possible), []string{independent, onAddress})
}

// wavers says that the evidence for the mapping contradicts itself: some sockets
// show one that is endpoint-independent, and some show that it cannot be.
func wavers(f *nattest.Family) bool {
	against := 0
	for vote, n := range f.Mapping.Votes {
		if strings.HasPrefix(vote, onAddress) || vote == onPort {
			against += n
		}
	}
	return f.Stable == "no" || f.Mapping.Votes[independent] > 0 && against > 0
}

// behindOne predicts for two peers that one NAT translates; nil if there are
// two, or none.
func behindOne(f, other *nattest.Family, shared bool) *Family {
	one := slices.ContainsFunc(f.Mapped, func(m nattest.Mapped) bool {
		return slices.ContainsFunc(other.Mapped, func(o nattest.Mapped) bool { return o.Address == m.Address })
	})
	switch {
	case !one || f.NAT == "no" || other.NAT == "no":
		return nil
	case f.Hairpin.State == "yes" && other.Hairpin.State == "yes":
		return &Family{Outcome: likelyDirect, Reason: "Both are behind one NAT, which passes packets between them (hairpinning)."}
	case !shared && near(f, other):
		return &Family{Outcome: likelyDirect, Reason: "Both are behind one NAT and their addresses are of one network, so they reach each other inside it if that lets them."}
	}
	return &Family{Outcome: nattest.Unknown, Reason: "Both are seen from one public address: within one network they reach each other by its addresses, as customers of one provider only if its NAT passes packets between them (hairpinning, not tested)."}
}

// near says that sockets of both had addresses of one small network.
func near(f, other *nattest.Family) bool {
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
