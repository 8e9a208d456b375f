package nattest

import (
	"net/netip"
	"slices"
	"time"
)

// Page is what a web page and its server saw together. It stands for the
// sockets of Run, which a page does not have.
type Page struct {
	Server Server
	Begun  time.Time
	Took   time.Duration
	Seen   netip.Addr // the page's address, as HTTP saw it; may be invalid
	V4, V6 PageFamily
	TURN   []URLReport // what came of each TURN URL
}

// PageFamily is what was seen over IPv4 or over IPv6.
type PageFamily struct {
	Why       string  // why nothing was tested, "" when something was
	Trials    []Trial // of each peer connection. Local has the zero address where the browser hides it
	NAT       string  // yes or no where the browser itself knows, else ""
	Arrived   bool    // requests from the page's address reached the server over UDP
	Filtering PageFiltering
}

// PageFiltering is what came of the ICE checks that the server sent.
type PageFiltering struct {
	Tested   bool
	Rounds   Rounds
	BothSent bool           // checks came from another address of the server, too
	Base     netip.AddrPort // the mapping towards the server's first address and port
	After    netip.AddrPort // the mapping towards At, once that had sent unsolicited checks; invalid: not seen
	At       netip.AddrPort
}

// Judge says of a page what Run says of the machine it runs on, by the same
// rules and in the same words.
func Judge(p Page) *Report {
	r := &Report{Schema: 1, Time: p.Begun.UTC(), DurationMS: p.Took.Milliseconds(), Server: p.Server, TURN: pageRelay(p.TURN)}
	r.conclude(p.V4.observation(), p.V6.observation(), true)
	for _, f := range []struct {
		Family
		arrived bool
	}{{r.V4, p.V4.Arrived}, {r.V6, p.V6.Arrived}} {
		if note := f.beside(p.Seen, f.arrived); note != "" {
			r.Server.Notes = append(r.Server.Notes, note)
		}
	}
	return r
}

// beside sets what only the server knows beside what the browser found: the
// address that HTTP came from, and whether requests arrived.
func (f *Family) beside(seen netip.Addr, arrived bool) string {
	switch {
	case f.UDP == "blocked" && arrived:
		return "requests of this browser reached the server over UDP: it is the answers that are lost"
	case seen.IsValid() && len(f.Mapped) > 0 && f.Mapped[0].Address.Is4() == seen.Is4() &&
		!slices.ContainsFunc(f.Mapped, func(m Mapped) bool { return m.Address == seen }):
		return "the page came from " + seen.String() + ", its UDP from " + f.Mapped[0].Address.String() + ": a proxy, a VPN or several ways out"
	}
	return ""
}

func (f PageFamily) observation() observation {
	return observation{why: f.Why, trials: f.Trials, nat: f.nat(), tally: f.Filtering.tally(), disturbs: f.disturbs()}
}

// tally counts the checks as if they had been the rounds of Run: one peer
// connection is one socket.
func (p PageFiltering) tally() tally {
	if !p.Tested {
		return tally{}
	}
	t := tally{rounds: p.Rounds, port: attempt{tried: true, asked: p.Rounds.Sent, ok: p.Rounds.ChangedPortOK}}
	if p.BothSent {
		t.both = attempt{tried: true, asked: p.Rounds.Sent, ok: p.Rounds.ChangedBothOK}
	}
	return t
}

// disturbs compares the mapping towards the server with that towards the place
// that had sent unsolicited.
func (f PageFamily) disturbs() string {
	p := f.Filtering
	switch {
	case !p.Tested, !p.Base.IsValid(), slices.ContainsFunc(f.Trials, func(t Trial) bool { return t.possible()&eim == 0 }):
		return NotTested
	case !p.After.IsValid(), p.After.Addr() != p.Base.Addr():
		return Unknown
	case p.After != p.Base:
		return "yes"
	}
	return "no"
}

// nat tells whether there is a NAT, as far as the browser lets it be known: "" is
// left to the addresses of the sockets, where it shows them.
func (f PageFamily) nat() string {
	answers := 0
	for _, t := range f.Trials {
		if t.Local.IsValid() && !t.Local.Addr().IsUnspecified() {
			return ""
		}
		for _, a := range t.Answers {
			if a.Mapped.IsValid() && a.Mapped.Port() != t.Local.Port() {
				return "yes"
			}
			if a.Mapped.IsValid() {
				answers++
			}
		}
	}
	if answers == 0 || f.NAT == "" {
		return Unknown
	}
	return f.NAT
}

// pageRelay sums up what came of the URLs.
func pageRelay(urls []URLReport) Relay {
	r := Relay{State: NotTested, URLs: urls}
	for i := range urls {
		urls[i].Loops = pageLoops(urls[i].State)
	}
	switch has := func(state string) bool {
		return slices.ContainsFunc(urls, func(u URLReport) bool { return u.State == state })
	}; {
	case has("ok"):
		r.State = "ok"
	case has("failed"):
		r.State = "failed"
	case len(urls) == 0:
		r.Why = errNoURL.Error()
	default:
		r.Why = "the page tested none of its URLs"
	}
	return r
}
