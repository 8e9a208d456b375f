package nattest

import (
	"net/netip"
	"strings"
	"testing"
)

// A page's evidence is judged as a socket's is; what a browser hides is not
// made up.
func TestJudgeOfAPage(t *testing.T) {
	var eps []netip.AddrPort
	for _, s := range []string{"203.0.113.10:3478", "203.0.113.10:3479", "203.0.113.11:3478", "203.0.113.11:3479"} {
		eps = append(eps, netip.MustParseAddrPort(s))
	}
	page := func(nat string, ports ...uint16) Page { // three trials; ports are what the four endpoints see
		var p Page
		p.V6.Why = "the server has no address of this family"
		p.V4.NAT, p.Seen = nat, netip.MustParseAddr("198.51.100.7")
		for range 3 {
			trial := Trial{Local: netip.MustParseAddrPort("0.0.0.0:40000")}
			for i, port := range ports {
				a := Answer{Endpoint: eps[i], Sends: 1}
				if port != 0 {
					a.Mapped = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), port)
				}
				trial.Answers = append(trial.Answers, a)
			}
			p.V4.Trials = append(p.V4.Trials, trial)
		}
		return p
	}
	for _, tt := range []struct {
		what               string
		page               Page
		nat, mapping, keep string
	}{
		{"a NAT that keeps the port", page("yes", 40000, 40000, 40000, 40000), "yes", EndpointIndependent, "yes"},
		{"no NAT", page("no", 40000, 40000, 40000, 40000), "no", EndpointIndependent, "yes"},
		{"nobody knows", page("", 40000, 40000, 40000, 40000), "unknown", EndpointIndependent, "yes"},
		{"another port", page("", 41000, 41000, 41000, 41000), "yes", EndpointIndependent, "no"},
		{"symmetric", page("yes", 1001, 1002, 1003, 1004), "yes", AddressAndPortDependent, "no"},
		{"address-dependent", page("yes", 1001, 1001, 1003, 1003), "yes", AddressDependent, "no"},
		{"silent second address", page("yes", 41000, 41000, 0, 0), "yes", "unknown", "no"},
	} {
		r := Judge(tt.page)
		if r.V4.NAT != tt.nat || r.V4.Mapping.Behavior != tt.mapping || r.V4.PortPreservation != tt.keep {
			t.Errorf("%s: got NAT %s, mapping %s, port kept %s; want %s, %s, %s", tt.what, r.V4.NAT, r.V4.Mapping.Behavior, r.V4.PortPreservation, tt.nat, tt.mapping, tt.keep)
		}
	}
	blocked := page("", 0, 0, 0, 0)
	blocked.V4.Arrived = true
	if r := Judge(blocked); r.V4.UDP != "blocked" || r.Verdict.Relay != required || len(r.Server.Notes) != 1 {
		t.Errorf("got UDP %s, relay %s, notes %q; want blocked, required, a note that requests arrived", r.V4.UDP, r.Verdict.Relay, r.Server.Notes)
	}
	vpn := page("yes", 41000, 41000, 41000, 41000)
	vpn.Seen = netip.MustParseAddr("192.0.2.9")
	if r := Judge(vpn); len(r.Server.Notes) != 1 || !strings.Contains(r.Server.Notes[0], "192.0.2.9") {
		t.Errorf("got notes %q, want both addresses", r.Server.Notes)
	}
}
