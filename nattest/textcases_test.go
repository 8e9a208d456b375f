package nattest

import (
	"net/netip"
	"slices"
	"testing"

	"turnkey/nattest/around"
)

// seenFamily is a family as the probe reports it, of a machine behind a NAT of
// this kind, tested against two addresses.
func seenFamily(mapping, filtering, classic string) Family {
	f := Family{
		UDP: "ok", NAT: "yes", Pooling: "paired", PortPreservation: "yes", Stable: "yes", InboundDisturbs: "no", NAT64: "no",
		Classic: classic, RTTMS: 12.3,
		Mapped:    []Mapped{{netip.MustParseAddr("198.51.100.7"), 12}},
		Mapping:   Mapping{Behavior: mapping, Possible: []string{mapping}, Confidence: 0.98, Level: "high", Votes: map[string]int{mapping: 3}},
		Filtering: Filtering{Behavior: filtering, Possible: []string{filtering}, Confidence: 0.98, Level: "high", Rounds: Rounds{Sent: 10, ControlOK: 10}},
		Hairpin:   Hairpin{State: NotTested}, Lifetime: Lifetime{State: NotTested}, Fragments: Fragments{State: NotTested}, ALG: ALG{State: NotTested},
		Evidence: []Evidence{{ID: 1, Kind: "mapping", Local: inside(0), To: ep1, From: ep1, Origin: ep1, Sends: 1, Mapped: outside(0), TMS: 12.3}},
	}
	for range 3 {
		f.Trials = append(f.Trials, Trial{Local: inside(0), Answers: []Answer{{Endpoint: ep1, Mapped: outside(0), Sends: 1}}})
	}
	for _, at := range []string{"203.0.113.10:3478", "203.0.113.10:3479", "203.0.113.11:3478", "203.0.113.11:3479"} {
		f.Endpoints = append(f.Endpoints, Endpoint{Endpoint: netip.MustParseAddrPort(at), Asked: 3, Answered: 3})
	}
	return f
}

// untested is a family that this machine does not have.
func untested(why string) Family {
	return Family{UDP: NotTested, Why: why, NAT: Unknown, Mapping: Mapping{Behavior: Unknown}}
}

// turned is TURN with this state over UDP, TCP and TLS.
func turned(udp, tcp, tls string) Relay {
	r := Relay{State: NotTested}
	for i, u := range []URLReport{
		{URL: "turn:turn.example.com:3478?transport=udp", State: udp, RTTMS: 12.4},
		{URL: "turn:turn.example.com:3478?transport=tcp", State: tcp, RTTMS: 14.1},
		{URL: "turns:turn.example.com:443?transport=tcp", State: tls, RTTMS: 31},
	} {
		u.Stages = []Stage{{Name: "dns", State: "ok", MS: 1}, {Name: "connect", State: "ok", MS: 12}}
		if u.State == "failed" {
			u.Failed, u.Reason = "challenge", "no answer"
			u.Hint = []string{"open UDP port 3478 in the server's firewall", "open TCP port 3478 in the server's firewall", "open TCP port 443 in the server's firewall"}[i]
		}
		if u.State == "ok" || u.State == "failed" && r.State != "ok" {
			r.State = u.State
		}
		r.URLs = append(r.URLs, u)
	}
	return r
}

// told makes a report of what was seen, and judges it.
func told(v4, v6 Family, turn Relay) *Report {
	r := &Report{Schema: 1, Time: began, DurationMS: 600, Server: Server{Host: "turn.example.com"}, V4: v4, V6: v6, TURN: turn}
	r.V4.Verdict, r.V6.Verdict = r.V4.judge(), r.V6.judge()
	r.Verdict = overall(&r.V4, &r.V6)
	return r
}

func TestReportsOfManyNetworks(t *testing.T) {
	noV6 := untested("the server has no address of this family")
	works := turned("ok", "ok", "ok")
	natless := func(filtering, classic string) Family {
		f := seenFamily(EndpointIndependent, filtering, classic)
		f.NAT = "no"
		f.Trials[0].Local = netip.MustParseAddrPort("198.51.100.7:50000")
		return f
	}
	with := func(f Family, change func(*Family)) Family {
		change(&f)
		return f
	}
	for name, r := range map[string]*Report{
		"no NAT":          told(natless(EndpointIndependent, "open internet"), noV6, works),
		"firewall":        told(natless(AddressAndPortDependent, "symmetric firewall"), noV6, works),
		"full cone":       told(seenFamily(EndpointIndependent, EndpointIndependent, "full cone"), noV6, works),
		"restricted cone": told(seenFamily(EndpointIndependent, AddressDependent, "restricted cone"), noV6, works),
		"home router":     told(seenFamily(EndpointIndependent, AddressAndPortDependent, "port-restricted cone"), noV6, works),
		"disturbed": told(with(seenFamily(EndpointIndependent, AddressAndPortDependent, "port-restricted cone"), func(f *Family) {
			f.InboundDisturbs = "yes"
		}), noV6, works),
		"symmetric, TURN works": told(seenFamily(AddressAndPortDependent, AddressAndPortDependent, "symmetric"), noV6, works),
		"symmetric, TURN fails": told(seenFamily(AddressAndPortDependent, AddressAndPortDependent, "symmetric"), noV6, turned("failed", "failed", "failed")),
		"symmetric, TLS only":   told(seenFamily(AddressAndPortDependent, AddressAndPortDependent, "symmetric"), noV6, turned("failed", "failed", "ok")),
		"symmetric, no key": told(seenFamily(AddressAndPortDependent, AddressAndPortDependent, "symmetric"), noV6,
			Relay{State: NotTested, Why: "for want of a key (HTTP 401 from /v1/ice); give -key or TURNKEY_API_KEY"}),
		"UDP blocked": told(with(untested(""), func(f *Family) {
			f.UDP, f.Endpoints = "blocked", seenFamily("", "", "").Endpoints
			for i := range f.Endpoints {
				f.Endpoints[i].Answered = 0
			}
			f.Trials = seenFamily("", "", "").Trials
			for i := range f.Trials {
				f.Trials[i].Answers[0].Mapped = netip.AddrPort{}
			}
		}), noV6, turned("failed", "ok", "ok")),
		"one port silent": told(with(seenFamily(Unknown, Unknown, ""), func(f *Family) {
			f.UDP, f.Filtering.Possible, f.Mapping.Possible = "partial", anyBehavior.names(), anyBehavior.names()
			f.Endpoints = f.Endpoints[:2]
			f.Endpoints[1].Answered = 0
		}), noV6, works),
		"operator NAT": with1(told(seenFamily(EndpointIndependent, AddressAndPortDependent, "port-restricted cone"), noV6, works), func(r *Report) {
			r.Around = &around.Report{
				CGN:    around.Finding{State: around.Yes, Why: "hop 2 is 100.64.0.1, of the space for operators' NATs"},
				Layers: 2, Hops: []around.Hop{
					{TTL: 1, State: "router", Address: netip.MustParseAddr("192.168.1.1")},
					{TTL: 2, State: "router", Address: netip.MustParseAddr("100.64.0.1")}, {TTL: 3, State: "reached"},
				},
			}
		}),
		"NAT64": told(untested("this machine cannot send to 203.0.113.10: no route"),
			with(seenFamily(EndpointIndependent, AddressAndPortDependent, "port-restricted cone"), func(f *Family) { f.NAT64 = "yes" }), works),
		"one address only": told(with(seenFamily(Unknown, Unknown, ""), func(f *Family) {
			f.Mapping.Possible, f.Filtering.Possible = (eim | adm).names(), (eim | adm).names()
			f.Endpoints = f.Endpoints[:2]
			f.Mapping.Caveats = []string{"the server was seen on one address only, which cannot tell endpoint-independent from address-dependent mapping"}
		}), noV6, works),
		"contradictory": told(with(seenFamily(EndpointIndependent, AddressAndPortDependent, ""), func(f *Family) {
			f.Mapping.split, f.Mapping.Confidence, f.Mapping.Level = true, 0.46, "low"
			f.Mapping.Possible, f.Stable, f.Loss = (eim | adm).names(), "no", 0.12
			f.Mapping.Caveats = []string{"the trials contradict each other: two flows met on one port, or the NAT changes its mappings"}
		}), noV6, works),
		"dual stack": told(seenFamily(AddressAndPortDependent, AddressAndPortDependent, "symmetric"),
			with(natless(AddressAndPortDependent, "symmetric firewall"), func(f *Family) {
				f.Mapped, f.Trials = slices.Clone(f.Mapped), slices.Clone(f.Trials)
				f.Mapped[0].Address = netip.MustParseAddr("2001:db8:7::2")
				f.Trials[0].Local = netip.MustParseAddrPort("[2001:db8:7::2]:50000")
			}), works),
		"all tests": told(with(seenFamily(EndpointIndependent, AddressAndPortDependent, "port-restricted cone"), func(f *Family) {
			f.Hairpin = Hairpin{State: "yes", Source: "external", From: outside(1), To: outside(0)}
			f.Lifetime = Lifetime{State: "measured", OneShot: Timer{Alive: 29, Dead: 32.6}, Stream: Timer{Alive: 150}, Limit: 150}
			f.Fragments = Fragments{State: "no", Outbound: "yes", Inbound: "no", Bytes: 1496}
			f.ALG = ALG{State: "yes", Outbound: "no", Inbound: "yes", Mapped: inside(0), XOR: outside(0)}
		}), noV6, works),
		"everything at once": with1(told(
			with(seenFamily(AddressAndPortDependent, AddressAndPortDependent, "symmetric"), func(f *Family) {
				f.Hairpin = Hairpin{State: Unknown, Why: "no packet came back; one that the NAT returned with its inner source would not be seen on one machine: try with two"}
				f.Lifetime = Lifetime{State: NotTested, Why: "the server does not answer to another port on request (RESPONSE-PORT: error 420)"}
			}),
			seenFamily(EndpointIndependent, EndpointIndependent, "full cone"), turned("failed", "failed", "failed")), func(r *Report) {
			r.Around = &around.Report{VPN: around.Finding{State: around.Yes, Why: "packets leave by wg0, a tunnel of WireGuard"}, Advice: "The router opens ports on request (UPnP)."}
			r.Server.Notes = []string{"this machine's clock differs from the HTTP server's by 2 hours"}
		}),
	} {
		t.Run(name, func(t *testing.T) { checkReport(t, name, r) })
	}
}

// with1 is a report with a change.
func with1(r *Report, change func(*Report)) *Report {
	change(r)
	return r
}
