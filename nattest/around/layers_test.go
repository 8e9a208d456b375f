package around

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// hops reads hops in short: r a router, R reached, . silent, each with an
// address but the last.
func hops(s string) (out []Hop) {
	for i, f := range strings.Fields(s) {
		kind, address, _ := strings.Cut(f, ":")
		h := Hop{TTL: i + 1, State: map[string]string{"r": "router", "R": "reached", ".": "silent"}[kind]}
		if address != "" {
			h.Address = netip.MustParseAddr(address)
			h.Space = space(h.Address)
		}
		out = append(out, h)
	}
	return out
}

func TestHolder(t *testing.T) {
	for _, tt := range []struct {
		own        string
		at, passed int
	}{
		{"R:203.0.113.5", 1, 0},
		{"r:192.168.1.1 R:203.0.113.5", 2, 1},
		{"r:192.168.1.1 r:100.64.0.1 .", 0, 2},
		{". R:203.0.113.5", 0, 0}, // the first router may have it
		{"r:192.168.1.1 . R:203.0.113.5", 0, 1},
		{"R:203.0.113.5 r:192.168.1.1", 0, 0}, // both cannot be
		{". . . .", 0, 0},
		{"", 0, 0},
	} {
		if at, passed := holder(hops(tt.own)); at != tt.at || passed != tt.passed {
			t.Errorf("%q: got at %d, passed %d; want %d, %d", tt.own, at, passed, tt.at, tt.passed)
		}
	}
}

func TestLayers(t *testing.T) {
	const home, public = "192.168.1.2", "203.0.113.5"
	for _, tt := range []struct {
		name, local, mapped, external string
		hops, own                     string
		vpn                           string
		cgn, double                   string
		layers                        int
	}{
		{name: "no NAT", local: public, mapped: public, cgn: No, double: No},
		{name: "no answer", local: home, cgn: Unknown, double: Unknown},
		{name: "nothing told", local: home, mapped: public, hops: "r:192.168.1.1 r:198.51.100.1 R:203.0.113.9", own: ". . . .", cgn: Unknown, double: Unknown, layers: 1},
		{name: "at the first router", local: home, mapped: public, own: "R:203.0.113.5", cgn: No, double: No, layers: 1},
		{name: "external address is the public one", local: home, mapped: public, external: public, cgn: No, double: No, layers: 1},
		{name: "so it says, yet it is elsewhere", local: home, mapped: public, external: public, own: "r:192.168.1.1 R:203.0.113.5", cgn: Unknown, double: Unknown, layers: 1},
		{name: "external address is shared", local: home, mapped: public, external: "100.64.0.2", cgn: Yes, double: Yes, layers: 2},
		{name: "external address is private", local: home, mapped: public, external: "192.168.0.2", cgn: Unknown, double: Yes, layers: 2},
		{name: "external address is private, then a shared hop", local: home, mapped: public, external: "192.168.0.2", hops: "r:192.168.1.1 r:192.168.0.1 r:100.64.0.1", own: "r:192.168.1.1 r:192.168.0.1 R:203.0.113.5", cgn: Yes, double: Yes, layers: 3},
		{name: "another public address", local: home, mapped: public, external: "203.0.113.77", cgn: Unknown, double: Unknown, layers: 1},
		{name: "another public address, and a router behind", local: home, mapped: public, external: "203.0.113.77", own: "r:192.168.1.1 r:198.51.100.1 .", cgn: Unknown, double: Yes, layers: 2},
		{name: "shared hop alone", local: home, mapped: public, hops: "r:192.168.1.1 r:100.64.0.1", own: ". . . .", cgn: Unknown, double: Unknown, layers: 1},
		{name: "shared hop, passed once", local: home, mapped: public, hops: "r:192.168.1.1 r:100.64.0.1", own: "r:192.168.1.1 . .", cgn: Unknown, double: Unknown, layers: 1},
		{name: "shared hop, held there", local: home, mapped: public, hops: "r:192.168.1.1 r:100.64.0.1", own: "r:192.168.1.1 R:203.0.113.5", cgn: Yes, double: Yes, layers: 2},
		{name: "shared hop, held behind", local: home, mapped: public, hops: "r:192.168.1.1 r:100.64.0.1", own: "r:192.168.1.1 r:100.64.0.1 . .", cgn: Yes, double: Yes, layers: 2},
		{name: "shared hop in a cloud", local: "172.31.0.5", mapped: public, hops: ". r:100.64.0.1", own: ". r:100.64.0.1", cgn: Unknown, double: Unknown, layers: 1},
		{name: "private hop", local: home, mapped: public, hops: "r:192.168.1.1 r:10.0.0.1", own: "r:192.168.1.1 R:203.0.113.5", cgn: Unknown, double: Unknown, layers: 1},
		{name: "a phone, or a container", local: "100.70.0.5", mapped: public, own: "r:100.70.0.1 . .", cgn: Unknown, double: Unknown, layers: 1},
		{name: "external address is the public one, and may be passed on", local: home, mapped: public, external: public, own: "r:192.168.1.1 . .", cgn: Unknown, double: Unknown, layers: 1},
		{name: "server in this network", local: home, mapped: home, cgn: Unknown, double: Unknown},
		{name: "VPN", local: "10.8.0.2", mapped: public, vpn: Yes, own: "R:203.0.113.5", cgn: Unknown, double: Unknown, layers: 1},
		{name: "server in the same network", local: home, mapped: "192.168.7.1", cgn: Unknown, double: Unknown, layers: 1},
		{name: "pool of addresses", local: home, mapped: public + " 203.0.113.6", external: "203.0.113.6", cgn: No, double: No, layers: 1},
	} {
		r := Report{Hops: hops(tt.hops), OwnHops: hops(tt.own), VPN: Finding{State: tt.vpn},
			Local: Local{Address: netip.MustParseAddr(tt.local), Gateway: gatewayIP}}
		if tt.external != "" {
			r.NATPMP.External = netip.MustParseAddr(tt.external)
		}
		var seen Seen
		for _, s := range strings.Fields(tt.mapped) {
			seen.Mapped = append(seen.Mapped, netip.MustParseAddr(s))
		}
		r.Conclude(seen)
		if r.CGN.State != tt.cgn || r.DoubleNAT.State != tt.double || r.Layers != tt.layers || r.CGN.Why == "" {
			t.Errorf("%s: got CGN %+v, double NAT %+v, %d layers; want %s, %s, %d", tt.name, r.CGN, r.DoubleNAT, r.Layers, tt.cgn, tt.double, tt.layers)
		}
	}
}

func TestVPN(t *testing.T) {
	at := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	eth := Interface{Name: "eth0", Addresses: at("192.168.1.2/24")}
	tun := Interface{Name: "office", Kind: "tun", Addresses: at("10.8.0.2/24")}
	for _, tt := range []struct {
		out    Interface
		all    []Interface
		routes []Route
		want   string
		says   string
	}{
		{eth, []Interface{eth}, nil, No, ""},
		{eth, []Interface{eth, tun}, []Route{{Interface: "eth0"}}, No, "office (tun) is up"},
		{eth, []Interface{eth, tun}, []Route{{Interface: "office"}, {Interface: "eth0"}}, No, "the default route leads through office"},
		{eth, []Interface{eth, {Name: "utun0"}}, nil, No, ""}, // macOS has such ones always
		{tun, []Interface{eth, tun}, nil, Yes, "office (tun)"},
		{Interface{Name: "wg0"}, nil, nil, Yes, "wg0"},
		{Interface{Name: "tailscale0"}, nil, nil, Yes, "tailscale0"},
		{Interface{Name: "ztabcdefgh"}, nil, nil, Yes, "ztabcdefgh"},
		{Interface{Name: "ppp0", Kind: "ppp"}, nil, nil, Unknown, "ppp0"},
		{Interface{Name: "wgan0"}, nil, nil, No, ""},
	} {
		f := vpn(tt.out, tt.all, tt.routes)
		if f.State != tt.want || !strings.Contains(f.Why, tt.says) {
			t.Errorf("%s: got %+v, want %s, %q", tt.out.Name, f, tt.want, tt.says)
		}
	}
}

func TestHTTPBesideSTUN(t *testing.T) {
	v4, v6 := netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("2001:db8::5")
	other := netip.MustParseAddr("198.51.100.7")
	for _, tt := range []struct {
		seen   Seen
		portal bool
		want   string
	}{
		{Seen{[]netip.Addr{v4, v6}, v4}, false, "same"},
		{Seen{[]netip.Addr{v4, v6}, v6}, false, "same"},
		{Seen{[]netip.Addr{v4, other}, other}, false, "same"},
		{Seen{[]netip.Addr{v4}, other}, false, "differs"},
		{Seen{[]netip.Addr{v4}, other}, true, Unknown},
		{Seen{[]netip.Addr{v4}, v6}, false, Unknown},
		{Seen{[]netip.Addr{v4}, netip.MustParseAddr("127.0.0.1")}, false, Unknown},
		{Seen{[]netip.Addr{v4}, netip.Addr{}}, false, Unknown},
		{Seen{nil, v4}, false, Unknown},
	} {
		if h := compareHTTP(tt.seen, tt.portal); h.State != tt.want || h.State != "same" && h.Why == "" {
			t.Errorf("%+v: got %+v, want %s", tt.seen, h, tt.want)
		}
	}
}

func TestPortalNeedsProof(t *testing.T) {
	for _, tt := range []struct {
		own, control answer
		want         string
	}{
		{answer{}, answer{}, Unknown},
		{answer{status: 302, location: "https://www.example.org/"}, answer{}, Unknown}, // another web server
		{answer{status: 200}, answer{}, Unknown},
		{answer{status: 200}, answer{status: 503}, Unknown}, // a proxy that reaches nobody
		{answer{status: 302, location: "http://login.lab/"}, answer{status: 302, location: "http://login.lab/"}, Yes},
		{answer{}, answer{status: 200}, Yes},
		{answer{status: 511}, answer{}, Yes},
	} {
		if f := judgePortal(tt.own, tt.control, "turn.lab"); f.State != tt.want || f.Why == "" {
			t.Errorf("%+v: got %+v, want %s", tt, f, tt.want)
		}
	}
}

func TestLinesSayWhatMatters(t *testing.T) {
	r := Report{Hops: hops("r:192.168.1.1 . R:203.0.113.9"), CGN: Finding{Yes, "because"}, VPN: Finding{State: No}}
	r.Advice = "open a port"
	got := fmt.Sprint(r.Lines())
	for _, want := range []string{"because", "192.168.1.1, ?, the server", "open a port"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %q in it", got, want)
		}
	}
	if quiet := (&Report{CGN: Finding{State: No}}).Lines(); len(quiet) > 0 {
		t.Errorf("got %v of nothing, want no lines", quiet)
	}
}
