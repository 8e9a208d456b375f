package nattest

import (
	"math"
	"net/netip"
)

// counts says that an answer came that counts.
func (e Evidence) counts() bool { return e.Answers > 0 }

// stable says whether the mappings were the same at the end.
func stable(ev []Evidence) string {
	out := Unknown
	for _, again := range ev {
		if again.Kind != kindAgain || !again.counts() {
			continue
		}
		for _, e := range ev {
			if e.Kind == kindMapping && e.Socket == again.Socket && e.To == again.To && e.counts() {
				if e.Mapped != again.Mapped {
					return "no"
				}
				out = "yes"
			}
		}
	}
	return out
}

// disturbs says whether unsolicited packets change the mapping towards where
// they came from, as they do where a router takes them for its own: the socket
// then sends from a port that nobody was told. This can be seen only where a
// mapping is the same for that place if it has sent nothing.
func disturbs(ev []Evidence, trials []Trial, t tally) string {
	kept, moved, unsure := 0, 0, false
	unseen := 1.0 // that none of the unsolicited packets got as far as the NAT
	for _, d := range ev {
		if d.Kind != kindDisturb || !d.counts() {
			continue
		}
		base, to, sure := mappingOf(ev, d.Socket)
		if !sure || base.Addr() != d.Mapped.Addr() {
			unsure = true
			continue
		}
		if !alike(trials, to, d.To) {
			return NotTested
		}
		if base != d.Mapped {
			moved++
			continue
		}
		kept++
		unseen *= unsent(ev, d, t)
	}
	switch {
	case kept+moved == 0 && !unsure:
		return wasAsked(ev)
	case unsure || kept > 0 && moved > 0:
		return Unknown
	case moved > 0:
		return "yes"
	case unseen > improbable:
		return Unknown
	}
	return "no"
}

// wasAsked tells a test without answers from none.
func wasAsked(ev []Evidence) string {
	for _, e := range ev {
		if e.Kind == kindDisturb {
			return Unknown
		}
	}
	return NotTested
}

// mappingOf is how the control requests of a socket were seen, and where.
func mappingOf(ev []Evidence, socket int) (mapped, to netip.AddrPort, sure bool) {
	for _, e := range ev {
		if e.Kind == kindControl && e.Socket == socket && e.counts() {
			if sure && e.Mapped != mapped {
				return mapped, to, false
			}
			mapped, to, sure = e.Mapped, e.To, true
		}
	}
	return mapped, to, sure
}

// alike says that sockets which nobody sent to look the same from both places.
func alike(trials []Trial, a, b netip.AddrPort) bool {
	both := false
	for _, t := range trials {
		var at [2]netip.AddrPort
		for _, answer := range t.Answers {
			if answer.Endpoint == a {
				at[0] = answer.Mapped
			}
			if answer.Endpoint == b {
				at[1] = answer.Mapped
			}
		}
		if !at[0].IsValid() || !at[1].IsValid() {
			continue
		}
		if at[0] != at[1] {
			return false
		}
		both = true
	}
	return both
}

// unsent is how likely it is that all that the place of d sent to its socket
// was lost before the NAT saw it.
func unsent(ev []Evidence, d Evidence, t tally) float64 {
	asked := 0
	for _, e := range ev {
		if e.Socket != d.Socket || e.Expect != d.To || e.Kind != kindChangePort && e.Kind != kindChangeBoth {
			continue
		}
		if e.counts() {
			return 0
		}
		a := t.port
		if e.Kind == kindChangeBoth {
			a = t.both
		}
		if !a.tried || a.why != "" {
			return 1 // perhaps nothing was sent
		}
		asked++
	}
	return math.Pow(t.loss(), float64(asked))
}

// lossShare is the share of requests without an answer, at endpoints that answer.
func lossShare(ev []Evidence) float64 {
	answers := map[netip.AddrPort]bool{}
	for _, e := range ev {
		answers[e.To] = answers[e.To] || e.counts()
	}
	sent, heard := 0, 0
	for _, e := range ev {
		if answers[e.To] && (e.Kind == kindMapping || e.Kind == kindControl) {
			sent += e.Sends
			heard += min(e.Answers, e.Sends)
		}
	}
	if sent == 0 {
		return 0
	}
	return math.Round(1000*float64(sent-heard)/float64(sent)) / 1000
}
