package nattest

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// tally is what the rounds of the filtering test came to.
type tally struct {
	rounds Rounds
	port   attempt // at answers from the server's other port
	both   attempt // at answers from its other address and port
	split  bool    // one socket heard what another did not
	notes  []string
}

// attempt is one kind of unsolicited answer.
type attempt struct {
	asked int    // requests from sockets that heard nothing; of all sockets, if none heard
	ok    int    // answers that came unsolicited
	why   string // why silence says nothing, "" if it does
	tried bool   // the server can do it, as far as is known
}

// How rarely silence that is only loss may be taken for evidence: of a filter,
// and of a contradiction, which only takes certainty away.
const (
	improbable = 1e-3
	doubtful   = 0.05
)

// silent says that nothing came and that this means something: that loss would
// explain it that rarely; p is the share of lost round trips.
func (a attempt) silent(p, rarely float64) bool {
	return a.tried && a.ok == 0 && a.asked > 0 && a.why == "" && math.Pow(p, float64(a.asked)) <= rarely
}

// loss is the share of lost round trips.
func (t tally) loss() float64 { return lossOf(t.rounds.Sent-t.rounds.ControlOK, t.rounds.Sent) }

// filtering names the filtering behavior (RFC 5780 section 4.4). An answer is
// proof; silence is evidence where the control requests were answered, as far
// as their loss does not explain it.
func filtering(t tally) Filtering {
	f := Filtering{Behavior: NotTested, Possible: anyBehavior.names(), Level: level(0), Rounds: t.rounds, Caveats: t.notes}
	if !t.port.tried && !t.both.tried {
		return f
	}
	possible, sure := anyBehavior, 0.98
	p := t.loss()
	silence := func(a attempt, rest behaviors) {
		if a.silent(p, improbable) {
			possible &= rest
			sure = min(sure, 1-math.Pow(p, float64(a.asked)))
		} else if a.tried && a.ok == 0 && a.why != "" {
			f.Caveats = append(f.Caveats, a.why)
		}
	}
	switch {
	case t.both.ok > 0:
		possible = eim
	case t.port.ok > 0:
		possible = eim | adm
		silence(t.both, adm)
	default:
		silence(t.both, adm|apdm)
		silence(t.port, apdm)
	}
	if t.split {
		possible |= adm | apdm
		f.Caveats = append(f.Caveats, "one socket heard what another did not: the filter depends on the port, or an earlier packet opened it")
	}
	f.Behavior, f.Possible = Unknown, possible.names()
	if possible.single() {
		f.Behavior, f.Confidence = possible.names()[0], math.Round(100*sure)/100
	} else if lost := t.rounds.Sent - t.rounds.ControlOK; 3*lost > t.rounds.Sent {
		f.Caveats = append(f.Caveats, fmt.Sprintf("%d of %d control requests went unanswered: packets get lost, or something limits their rate", lost, t.rounds.Sent))
	}
	f.Level = level(f.Confidence)
	return f
}

// tallyOf counts the evidence. change is what the server's document says that
// CHANGE-REQUEST can do.
func tallyOf(ev []Evidence, change string) tally {
	var t tally
	doors := map[int]*[2]attempt{} // by socket: port, both
	for _, e := range ev {
		i := slices.Index([]string{kindControl, kindChangePort, kindChangeBoth}, e.Kind)
		if i < 0 {
			continue
		}
		if doors[e.Socket] == nil {
			doors[e.Socket] = &[2]attempt{}
		}
		if i == 0 {
			if t.rounds.Sent++; e.counts() {
				t.rounds.ControlOK++
			}
			continue
		}
		if a := &doors[e.Socket][i-1]; e.counts() {
			a.ok++
		} else {
			a.asked++
		}
	}
	t.port, t.both = sum(doors, 0), sum(doors, 1)
	t.rounds.ChangedPortOK, t.rounds.ChangedBothOK = t.port.ok, t.both.ok
	for i, a := range []*attempt{&t.port, &t.both} {
		a.know(ev, []string{kindChangePort, kindChangeBoth}[i], []string{kindSolicitedPort, kindSolicitedBoth}[i], change, t.loss())
	}
	for _, d := range doors {
		for i, a := range []attempt{t.port, t.both} {
			one := d[i]
			one.tried, one.why = a.tried, a.why
			t.split = t.split || a.ok > 0 && one.silent(t.loss(), doubtful)
		}
	}
	t.notes = t.excuses(ev)
	return t
}

// sum adds up one kind over the sockets: the answers, and the requests of the
// sockets that heard none.
func sum(doors map[int]*[2]attempt, kind int) (out attempt) {
	for _, d := range doors {
		if out.ok += d[kind].ok; d[kind].ok == 0 {
			out.asked += d[kind].asked
		}
	}
	return out
}

// know finds out whether the server can do it, and what keeps silence from
// being evidence.
func (a *attempt) know(ev []Evidence, kind, solicited, change string, loss float64) {
	var place netip.AddrPort
	heard, sends, other := false, 0, false
	for _, e := range ev {
		switch {
		case e.Kind == kind:
			place, a.tried = e.Expect, true
			switch e.Fault {
			case faultError, faultAsked:
				a.tried = false
				return
			case faultOrigin, faultLate:
				a.why = "an answer came from " + e.From.String() + " that does not count: " + e.Fault
			}
		case e.Kind == solicited:
			heard, sends = heard || e.counts(), e.Sends
		}
		other = other || e.Other.IsValid()
	}
	reached := slices.ContainsFunc(ev, func(e Evidence) bool { return e.Kind == kindMapping && e.To == place && e.counts() })
	switch {
	case a.why != "" || heard || a.ok > 0:
	case !reached:
		a.why = "nothing came from " + place.String() + " even when it was asked, so its silence says nothing"
	case sends > 0 && math.Pow(loss, float64(sends)) <= improbable:
		a.why = "the server's answer from " + place.String() + " did not come even to a socket that had sent there: the server does not do what it promises, or something on the way drops such requests"
	case !other && change != "all" && (change != "port" || kind != kindChangePort):
		a.why = "nothing shows that the server can answer from " + place.String()
	}
}

// excuses says why unsolicited answers could not be had.
func (t tally) excuses(ev []Evidence) (out []string) {
	if t.both.tried || !slices.ContainsFunc(ev, Evidence.counts) {
		return nil
	}
	faults := map[string]bool{}
	for _, e := range ev {
		if changes[e.Kind] != 0 {
			faults[e.Fault] = true
		}
	}
	switch {
	case t.port.tried:
		return []string{"the server has one address, which cannot tell endpoint-independent from address-dependent filtering"}
	case faults[faultAsked]:
		return []string{"the server ignores CHANGE-REQUEST (RFC 5780): it answers from where it was asked, which says nothing about filtering"}
	case faults[faultError]:
		return []string{"the server refuses CHANGE-REQUEST (RFC 5780), as one with a single address does unless its probe shows the token of /nattest.json"}
	}
	return []string{"the server has no other place to answer from"}
}
