package doctor

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Stage is how far two peers came.
type Stage string

// The stages, in their order.
const (
	StageJoined     Stage = "joined"     // both were in the room
	StageOffered    Stage = "offered"    // an offer was passed on
	StageAnswered   Stage = "answered"   // and its answer
	StageCandidates Stage = "candidates" // and candidates of both sides
	StageChecking   Stage = "checking"   // one of them says that it tries, or has failed
	StageConnected  Stage = "connected"  // one of them says that they are connected
	StageRelayed    Stage = "relayed"    // through a relay
)

// Finding is something that was seen, in words, and what to do about it. Peers
// are called by their ids.
type Finding struct {
	Code    string `json:"code"`
	Peer    string `json:"peer,omitempty"` // whom it is about, if it is one of the two
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // empty: there is nothing to do
}

// Verdict is what follows from what was seen of a pair. There is always a finding.
type Verdict struct {
	Stage    Stage     `json:"stage"`
	Findings []Finding `json:"findings"` // what comes first in a connection first
}

// Open reports whether the two are known not to be connected: an answer is
// missing, or one of them says so and neither says the contrary. Where no peer
// reports, nothing is known after an answer.
func (v Verdict) Open(p Pair) bool {
	return !p.up() && (v.Stage == StageJoined || v.Stage == StageOffered || p.Sides[0].Report.State != "" || p.Sides[1].Report.State != "")
}

// Diagnose says how far the pair came and what was seen that explains it.
func Diagnose(p Pair, now time.Time) Verdict {
	v := Verdict{Stage: p.stage()}
	if p.up() {
		v.Findings = p.connected()
		if slices.ContainsFunc(v.Findings, func(f Finding) bool { return strings.HasPrefix(f.Code, "relayed") }) {
			v.Stage = StageRelayed
		}
		return v
	}
	for i := range p.Peers {
		v.add(p.presence(i, now))
	}
	v.add(p.described(now)...)
	for i := range p.Peers {
		v.add(p.candidates(i))
	}
	for i := range p.Peers {
		v.add(p.turn(i), p.udp(i))
		v.add(p.denied(i)...)
	}
	v.add(p.failed())
	if len(v.Findings) == 0 {
		v.add(p.nothing())
	}
	return v
}

func (v *Verdict) add(list ...Finding) {
	for _, f := range list {
		if f.Code != "" {
			v.Findings = append(v.Findings, f)
		}
	}
}

// up reports whether one of the two says that they are connected, and neither
// that they failed.
func (p Pair) up() bool {
	a, b := p.Sides[0].Report.State, p.Sides[1].Report.State
	return (a == "connected" || b == "connected") && a != "failed" && b != "failed"
}

func (p Pair) stage() Stage {
	a, b := p.Sides[0], p.Sides[1]
	trying := []string{"connecting", "failed", "disconnected"}
	switch {
	case p.up():
		return StageConnected
	case p.offerer() < 0:
		return StageJoined
	case !p.answered():
		return StageOffered
	case slices.Contains(trying, a.Report.State) || slices.Contains(trying, b.Report.State):
		return StageChecking
	case a.Candidates.Passed() > 0 && b.Candidates.Passed() > 0:
		return StageCandidates
	}
	return StageAnswered
}

// offerer is whose offer is the newest, -1 if there is none.
func (p Pair) offerer() int {
	a, b := p.Sides[0].Offered, p.Sides[1].Offered
	switch {
	case a.IsZero() && b.IsZero():
		return -1
	case b.After(a):
		return 1
	}
	return 0
}

// answered reports whether the newest offer was answered.
func (p Pair) answered() bool {
	i := p.offerer()
	return i >= 0 && !p.Sides[1-i].Answered.IsZero() && !p.Sides[1-i].Answered.Before(p.Sides[i].Offered)
}

// connected says by which path.
func (p Pair) connected() (list []Finding) {
	told := -1
	for i, s := range p.Sides {
		if s.Report.State == "connected" && s.Report.Local != "" && (told < 0 || s.Reported.After(p.Sides[told].Reported)) {
			told = i
		}
	}
	a, b := p.Peers[0].ID, p.Peers[1].ID
	if told < 0 {
		return []Finding{{Code: "connected", Message: a + " and " + b + " are connected; neither has said by which path"}}
	}
	r, there, other := p.Sides[told].Report, p.Peers[1-told], p.Sides[1-told].Report
	if other.State != "connected" {
		other = Report{}
	}
	if r.Local == "relay" {
		list = append(list, p.Peers[told].relayed(r.Protocol))
	}
	switch {
	case other.Local == "relay":
		list = append(list, there.relayed(other.Protocol))
	case r.Remote == "relay":
		list = append(list, there.relayed(""))
	}
	over := ""
	if r.Protocol != "" {
		over = ", over " + r.Protocol
	}
	switch {
	case len(list) > 0:
	case r.Remote == "prflx" && other.Local == "" && len(there.Sessions) > 0:
		list = append(list, Finding{Code: "connected", Message: a + " and " + b + " are connected" + over + "; whether through the relay of " + there.ID + " is not known"})
	default:
		list = append(list, Finding{Code: "connected_direct", Message: a + " and " + b + " are connected directly" + over + ": no relay is used"})
	}
	return list
}

// relayed says that a connection goes through a relay of the peer.
func (p Peer) relayed(transport string) Finding {
	if len(p.Sessions) == 0 && len(p.Allocated) == 0 {
		return Finding{Code: "relayed", Peer: p.ID, Message: "the connection goes through a relay of " + p.ID + " that is not this server's"}
	}
	transport = cmp.Or(transport, p.transport())
	if transport == "" {
		return Finding{Code: "relayed", Peer: p.ID, Message: "the connection goes through the relay that " + p.ID + " has on this server"}
	}
	f := Finding{Code: "relayed", Peer: p.ID, Message: "the connection goes through the relay that " + p.ID + " has on this server, and reaches over " + transport}
	if (transport == "tcp" || transport == "tls") && !p.overUDP() {
		f.Code = "relayed_tcp"
		f.Message += "; over UDP nothing came from " + p.ID
		f.Hint = hintUDP + "; over TCP, one lost packet delays all that follow"
	}
	return f
}

// transport is the one of all live sessions, "" if they differ.
func (p Peer) transport() (t string) {
	for i, s := range p.Sessions {
		if i > 0 && s.Transport != t {
			return ""
		}
		t = s.Transport
	}
	return t
}

// overUDP reports whether anything came from the peer over UDP.
func (p Peer) overUDP() bool {
	datagrams := func(transport string) bool { return transport == "udp" || transport == "dtls" }
	return !p.Bound.IsZero() ||
		slices.ContainsFunc(p.Allocated, func(a Allocation) bool { return datagrams(a.Transport) }) ||
		slices.ContainsFunc(p.Refused, func(r Refusal) bool { return datagrams(r.Transport) }) ||
		slices.ContainsFunc(p.Sessions, func(s Session) bool { return datagrams(s.Transport) })
}
