package visitor

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"turnkey/nattest"
)

// evidence puts what the page says and what the server saw together.
func (s *Server) evidence(v *session, o observation) nattest.Page {
	p := nattest.Page{
		Server: nattest.Server{Host: v.host, Addresses: []netip.Addr{}, STUN: []netip.AddrPort{}},
		Begun:  v.begun, Took: time.Duration(o.MS * float64(time.Millisecond)), Seen: v.client,
		TURN: v.verified(o.TURN),
	}
	for _, e := range v.endpoints {
		p.Server.STUN = append(p.Server.STUN, e.At)
		if n := len(p.Server.Addresses); n == 0 || p.Server.Addresses[n-1] != e.At.Addr() {
			p.Server.Addresses = append(p.Server.Addresses, e.At.Addr())
		}
	}
	p.V4, p.V6 = s.family(v, o, 0), s.family(v, o, 1)
	return p
}

// family is evidence of one address family.
func (s *Server) family(v *session, o observation, family int) nattest.PageFamily {
	var f nattest.PageFamily
	var asked []Endpoint
	for _, e := range v.endpoints {
		if familyOf(e.At.Addr()) == family {
			asked = append(asked, e)
		}
	}
	found, offers := false, false
	for _, t := range o.Trials {
		trial := s.trial(t, asked, family)
		found, offers = found || trial.Local.IsValid(), offers || len(t.Host) > 0
		f.Trials = append(f.Trials, trial)
	}
	f.Filtering, f.Arrived = v.filtering(family), s.arrived(v, asked)
	f.NAT = map[string]string{"host": "no", "prflx": "yes"}[o.Local[families[family]]]
	switch {
	case len(asked) == 0:
		return nattest.PageFamily{Why: "the server has no address of this family"}
	case len(o.Trials) == 0:
		return nattest.PageFamily{Why: "the browser made no peer connection"}
	case !found && !offers:
		return nattest.PageFamily{Why: "the browser offers no address of its own: it has no network, or a setting keeps it from UDP"}
	case !found && f.Arrived:
		return f
	case !found && (!v.client.IsValid() || familyOf(v.client) != family):
		return nattest.PageFamily{Why: "no answer came by it, and the page did not come by it either"}
	}
	return f
}

// trial is one peer connection: of each endpoint the address that it was seen
// from there. Local is the zero address with the port of the socket, since the
// browser hides the address, and invalid without any candidate of the family.
func (s *Server) trial(t trialSeen, asked []Endpoint, family int) nattest.Trial {
	var out nattest.Trial
	var mapped []netip.AddrPort
	for _, c := range t.Srflx {
		if a, ok := c.addr(); ok && familyOf(a.Addr()) == family {
			mapped = append(mapped, a)
		}
	}
	for _, e := range asked {
		answer := nattest.Answer{Endpoint: e.At, Sends: 1}
		for _, m := range mapped {
			if s.sightings.seen(m, e.Bound, sightingFresh) {
				answer.Mapped = m
			}
		}
		out.Answers = append(out.Answers, answer)
	}
	if len(mapped) > 0 {
		out.Local = local(t.Host, mapped)
	}
	return out
}

// local is where a socket with these mappings is, as far as the browser tells.
func local(host []candidate, mapped []netip.AddrPort) netip.AddrPort {
	zero, family := netip.IPv4Unspecified(), familyOf(mapped[0].Addr())
	if family == 1 {
		zero = netip.IPv6Unspecified()
	}
	best := netip.AddrPortFrom(zero, 0)
	for _, h := range host {
		if a, ok := h.addr(); ok {
			if familyOf(a.Addr()) == family {
				return a
			}
			continue
		}
		if best.Port() == 0 || h.Port == mapped[0].Port() {
			best = netip.AddrPortFrom(zero, h.Port)
		}
	}
	return best
}

// arrived tells whether a Binding request from the page's address reached one of
// the endpoints.
func (s *Server) arrived(v *session, asked []Endpoint) bool {
	for _, e := range asked {
		if v.client.IsValid() && s.sightings.seen(anyPort(v.client), e.Bound, sightingFresh) {
			return true
		}
	}
	return false
}

// filtering is what came of the checks.
func (v *session) filtering(family int) nattest.PageFiltering {
	if r := v.run(family); r != nil {
		return r.result()
	}
	return nattest.PageFiltering{}
}

// result is what came of the checks so far.
func (r *run) result() nattest.PageFiltering {
	r.mu.Lock()
	defer r.mu.Unlock()
	return nattest.PageFiltering{
		Tested: true, Rounds: r.rounds.counts, BothSent: r.rounds.has[viaBoth],
		Base: r.rounds.to, After: r.rounds.after[r.rounds.far()], At: r.pushed[len(r.pushed)-1],
	}
}

// transports are the names of transports for a person.
var transports = map[string]string{"udp": "UDP", "tcp": "TCP", "tls": "TLS"}

// verified is what came of each TURN URL, in the server's order.
func (v *session) verified(seen []turnSeen) []nattest.URLReport {
	out := make([]nattest.URLReport, 0, len(v.urls))
	for _, url := range v.urls {
		u := nattest.URLReport{URL: url, State: nattest.NotTested, Stages: []nattest.Stage{}, Reason: "the page did not test it"}
		for _, t := range seen {
			if t.URL == url && len(t.Stages) > 0 {
				u = v.verifiedURL(t)
			}
		}
		out = append(out, u)
	}
	return out
}

func (v *session) verifiedURL(t turnSeen) nattest.URLReport {
	u := nattest.URLReport{URL: t.URL, State: "ok", Stages: []nattest.Stage{}, RTTMS: t.RTTMS}
	for _, s := range t.Stages {
		stage := nattest.Stage{Name: s.Name, State: "ok", MS: s.MS}
		if !s.OK && u.State == "ok" {
			u.State, u.Failed, stage.State = "failed", s.Name, "failed"
			u.Code, u.Reason, u.Hint = v.explain(t, s.Name)
			stage.Detail = u.Reason
		}
		u.Stages = append(u.Stages, stage)
	}
	return u
}

// explain says why a stage failed, as far as the server knows.
func (v *session) explain(t turnSeen, stage string) (code int, reason, hint string) {
	transport := transportOf(t.URL)
	name := transports[transport]
	allocated := 0
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, a := range v.allocations {
		if a.Transport == transport && a.Label == v.label {
			allocated++
		}
	}
	for _, f := range v.refusals {
		if f.Transport == transport && f.Label == v.label {
			return f.Code, fmt.Sprintf("the server refused %s: %s", f.Method, f.Reason), "What to change stands in the reason; the server's log has it, too."
		}
	}
	switch {
	case stage != "allocate":
		return t.Code, "both ends have a relayed address, but nothing passed between them",
			"Look at the server's log: its peer rules (TURNKEY_DENY_PEERS) may keep relays from reaching each other."
	case allocated > 0:
		return t.Code, "the server made an allocation over " + name + ", but its answer did not reach the browser",
			"Something on the way drops what comes back."
	case t.Code != 0 && t.Code < 700:
		return t.Code, fmt.Sprintf("the browser got error %d", t.Code), ""
	}
	return t.Code, "no Allocate from this page arrived over " + name, "Something on the way blocks it: this network's firewall, or the server's own."
}

// transportOf is the transport between client and server of a TURN URL, RFC 7065.
func transportOf(url string) string {
	switch {
	case strings.HasPrefix(url, "turns:"):
		return "tls"
	case strings.HasSuffix(url, "transport=tcp"):
		return "tcp"
	}
	return "udp"
}
