//go:build linux

package nat

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"turnkey/lab/need"
	"turnkey/lab/netns"
	"turnkey/lab/program"
	"turnkey/nattest/around"
)

// translate is a router's ordinary source NAT.
var translate = source(`oifname "wan0" masquerade`)

// mute makes a router pass packets on and say nothing itself.
const mute = `table inet mute {
	chain in { type filter hook input priority 0; drop; }
	chain out { type filter hook output priority 0; drop; }
}
`

// box is a router between two networks.
type box struct {
	outer []string // its addresses towards the internet, CIDR
	inner string   // its address towards the client, CIDR
	rules string   // nftables
	plain string   // it translates nothing: the network behind it, "" for a NAT
}

// chain adds a client behind routers, the one on the internet first. Of that
// one, PUBLIC is an address on the internet of its own. It returns the client,
// the routers and PUBLIC.
func (w *world) chain(t *testing.T, boxes ...box) (client *netns.Host, routers []*netns.Host, public string) {
	t.Helper()
	n := netns.New(t)
	w.last++
	public = fmt.Sprintf("203.0.113.%d", w.last)
	via := func(cidr string) string { ip, _, _ := strings.Cut(cidr, "/"); return ip }
	for i, b := range boxes {
		r := n.Host(fmt.Sprint("router", i))
		if i == 0 {
			r.Join(w.wan, "wan0", strings.Fields(strings.ReplaceAll(strings.Join(b.outer, " "), "PUBLIC", public))...)
		} else {
			routers[i-1].Cable("lan0", r, "wan0")
			routers[i-1].Addr("lan0", boxes[i-1].inner)
			r.Addr("wan0", b.outer...)
			r.Route("default", "via", via(boxes[i-1].inner))
			if b.plain != "" {
				routers[i-1].Route(b.plain, "via", via(b.outer[0]))
			}
		}
		r.Sysctl("net.ipv4.ip_forward", "1")
		r.NFT(b.rules)
		routers = append(routers, r)
	}
	last := boxes[len(boxes)-1].inner
	client = n.Host("client")
	routers[len(routers)-1].Cable("lan0", client, "eth0")
	routers[len(routers)-1].Addr("lan0", last)
	client.Addr("eth0", strings.TrimSuffix(last, ".1/24")+".2/24")
	client.Route("default", "via", via(last))
	return client, routers, public
}

// lookAround runs nattest and returns what it found around the NAT.
func lookAround(t *testing.T, client *netns.Host) around.Report {
	t.Helper()
	got := turnkey(t, client, apiKey, "nattest", "-json", api)
	var r struct{ Around around.Report }
	got.decode(t, &r)
	return r.Around
}

// path lists hops in short.
func path(hops []around.Hop) (out []string) {
	for _, h := range hops {
		if h.Address.IsValid() {
			out = append(out, fmt.Sprint(h.TTL, " ", h.State, " ", h.Address))
		}
	}
	return out
}

// Where a client may be.
const (
	home9  = "192.168.9.1/24"
	onWAN  = "PUBLIC/24"
	shared = "100.64.0.1/24"
)

// operators is a home behind the NAT of an operator.
var operators = []box{{[]string{onWAN}, shared, translate, ""}, {[]string{"100.64.0.2/24"}, home9, translate, ""}}

// nested are places, and what is true of them.
var nested = []struct {
	name        string
	boxes       []box
	cgn, double string // the truth
	says        string // what has to be said of both, "" for the truth or unknown
	layers      int    // the truth; the report says no more
	hops        []string
}{
	{"one NAT", []box{{[]string{onWAN}, home9, translate, ""}}, "no", "no", "no no", 1, []string{"1 router 192.168.9.1", "2 reached " + server}},
	{"one NAT that accepts nothing", []box{{[]string{onWAN}, home9, translate + filter("input", "ct state new drop"), ""}}, "no", "no", "", 1, nil},
	{"one symmetric NAT", []box{{[]string{onWAN}, home9, source(`oifname "wan0" masquerade fully-random`), ""}}, "no", "no", "no no", 1, nil},
	{"operator's NAT", operators,
		"yes", "yes", "yes yes", 2, []string{"1 router 192.168.9.1", "2 router 100.64.0.1", "3 reached " + server}},
	{"operator's symmetric NAT", []box{{[]string{onWAN}, shared, source(`oifname "wan0" masquerade fully-random`), ""}, {[]string{"100.64.0.2/24"}, home9, translate, ""}},
		"yes", "yes", "yes yes", 2, nil},
	{"operator's NAT that answers nothing", []box{{[]string{onWAN}, shared, translate + mute, ""}, {[]string{"100.64.0.2/24"}, home9, translate, ""}},
		"yes", "yes", "", 2, nil},
	{"a router behind a router", []box{{[]string{onWAN}, "192.168.1.1/24", translate, ""}, {[]string{"192.168.1.2/24"}, home9, translate, ""}},
		"no", "yes", "", 2, []string{"1 router 192.168.9.1", "2 router 192.168.1.1", "3 reached " + server}},
	{"a router that does not translate, as within a company", []box{{[]string{onWAN}, "10.0.0.1/24", translate, ""}, {[]string{"10.0.0.2/24"}, home9, "", "192.168.9.0/24"}},
		"no", "no", "", 1, nil},
	// The operator numbers its own router so, and gives its customers public addresses.
	{"a shared address that does not translate", []box{{[]string{onWAN}, shared, "", ""}, {[]string{"PUBLIC2/32", "100.64.0.2/24"}, home9, source(`oifname "wan0" snat to PUBLIC2`), ""}},
		"no", "no", "no no", 1, []string{"1 router 192.168.9.1", "2 router 100.64.0.1", "3 reached " + server}},
	{"the same, and everything that comes in goes to the client", []box{{[]string{onWAN}, shared, "", ""}, {[]string{"PUBLIC2/32", "100.64.0.2/24"}, home9,
		source(`oifname "wan0" snat to PUBLIC2`, `oifname "lan0" ct status dnat masquerade`) + "table ip dmz {\nchain pre {\ntype nat hook prerouting priority dstnat\nip daddr PUBLIC2 dnat to 192.168.9.2\n}\n}\n", ""}},
		"no", "no", "", 1, nil},
}

// place builds one of them; PUBLIC2 is an address of the second router's that
// the first one passes on.
func (w *world) place(t *testing.T, boxes []box) *netns.Host {
	t.Helper()
	boxes = slices.Clone(boxes)
	if len(boxes) < 2 || !strings.HasPrefix(boxes[1].outer[0], "PUBLIC2") {
		client, _, _ := w.chain(t, boxes...)
		return client
	}
	w.last++
	second := fmt.Sprintf("198.51.100.%d", w.last)
	boxes[1].outer = []string{second + "/32", boxes[1].outer[1]}
	boxes[1].rules = strings.ReplaceAll(boxes[1].rules, "PUBLIC2", second)
	client, routers, public := w.chain(t, boxes...)
	routers[0].Route(second, "via", "100.64.0.2")
	w.machine.Route(second, "via", public)
	return client
}

// TestAround has one world for all.
func TestAround(t *testing.T) {
	w := newWorld(t)
	for _, tt := range nested {
		t.Run(tt.name, func(t *testing.T) {
			client := w.place(t, tt.boxes)
			t.Parallel()
			got := lookAround(t, client)
			t.Logf("CGN %+v, double NAT %+v, layers %d, hops %v, to the own address %v", got.CGN, got.DoubleNAT, got.Layers, path(got.Hops), path(got.OwnHops))
			if says := got.CGN.State + " " + got.DoubleNAT.State; tt.says != "" && says != tt.says {
				t.Errorf("got CGN and double NAT %q, want %q", says, tt.says)
			}
			if got.Layers > tt.layers || got.Layers == 0 {
				t.Errorf("got %d layers, want 1 to %d", got.Layers, tt.layers)
			}
			if tt.hops != nil && !slices.Equal(path(got.Hops), tt.hops) {
				t.Errorf("got hops %v, want %v", path(got.Hops), tt.hops)
			}
			notWrong(t, got, tt.cgn, tt.double)
			if got.VPN.State != "no" || got.CaptivePortal.State != "no" || got.HTTP.State != "same" {
				t.Errorf("got VPN %+v, captive portal %+v, HTTP %+v; want no, no, same", got.VPN, got.CaptivePortal, got.HTTP)
			}
			if l := got.Local; l.Interface != "eth0" || l.Kind != "veth" || l.Address.String() != "192.168.9.2" || l.MTU != 1500 || l.Gateway.String() != "192.168.9.1" {
				t.Errorf("got way out %+v, want eth0 with 192.168.9.2 through 192.168.9.1", l)
			}
		})
	}
	t.Run("without NAT", w.withoutNAT)
	t.Run("without root", w.withoutRoot)
	w.withLoss(t)
	w.opensPorts(t)
	w.vpn(t)
	w.portal(t)
}

// notWrong accepts the truth and unknown.
func notWrong(t *testing.T, got around.Report, cgn, double string) {
	t.Helper()
	for _, c := range []struct{ what, got, truth, why string }{
		{"CGN", got.CGN.State, cgn, got.CGN.Why}, {"double NAT", got.DoubleNAT.State, double, got.DoubleNAT.Why},
	} {
		if c.got != c.truth && c.got != around.Unknown {
			t.Errorf("got %s %s (%s), want %s or unknown", c.what, c.got, c.why, c.truth)
		}
	}
}

// withLoss drops packets of the client in both directions.
func (w *world) withLoss(t *testing.T) {
	runs := 1
	if need.Long() {
		runs = 20
	}
	for i, tt := range nested {
		percent := []string{"10", "30"}[i%2]
		t.Run("with loss, "+tt.name, func(t *testing.T) {
			client := w.place(t, tt.boxes)
			client.NFT(strings.ReplaceAll(lossy, "PERCENT", percent))
			t.Parallel()
			said := map[string]int{} // how often what was said of CGN and double NAT
			defer func() { t.Logf("the truth is %s %s; said: %v", tt.cgn, tt.double, said) }()
			for run := range 2 * runs {
				if run == runs && need.Long() {
					client.NFT("flush ruleset\n" + strings.ReplaceAll(lossy, "PERCENT", []string{"30", "10"}[i%2]))
				}
				result := turnkey(t, client, apiKey, "nattest", "-json", api)
				if result.exit == 5 { // nothing got through: there is no report
					continue
				}
				var r struct{ Around around.Report }
				result.decode(t, &r)
				got := r.Around
				said[got.CGN.State+" "+got.DoubleNAT.State]++
				notWrong(t, got, tt.cgn, tt.double)
				if got.Layers > tt.layers || got.VPN.State != "no" || got.CaptivePortal.State == "yes" || got.HTTP.State == "differs" || got.Advice != "" {
					t.Errorf("got %+v, want %d layers at most, no VPN and no captive portal", got, tt.layers)
				}
			}
		})
	}
}

// lossy loses PERCENT of the packets each way.
const lossy = `table inet lossy {
	chain in { type filter hook input priority 0; iifname != "lo" numgen random mod 100 < PERCENT drop; }
	chain out { type filter hook output priority 0; oifname != "lo" numgen random mod 100 < PERCENT drop; }
}
`

// withoutRoot runs nattest as somebody who may do nothing special.
func (w *world) withoutRoot(t *testing.T) {
	need.Programs(t, "setpriv")
	client := w.place(t, operators)
	binary := filepath.Join(t.TempDir(), "turnkey") // which anybody may read
	if err := os.Link(program.Binary(t), binary); err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	out, err := client.Command(t.Context(), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all",
		binary, "nattest", "-json", "-key", apiKey, api).Output()
	t.Log(err) // the verdict is not what this is about
	var r struct{ Around around.Report }
	result{out: string(out)}.decode(t, &r)
	if got := r.Around; got.CGN.State != "yes" || len(got.Hops) != 3 || got.NATPMP.State != around.Absent || got.Local.Kind != "veth" {
		t.Errorf("got %+v, want all that root sees", got)
	}
}

func (w *world) withoutNAT(t *testing.T) {
	client, _ := w.outside(t)
	got := lookAround(t, client)
	if got.CGN.State != "no" || got.DoubleNAT.State != "no" || got.Layers != 0 || got.VPN.State != "no" {
		t.Errorf("got %+v, want no NAT and no VPN", got)
	}
	for name, p := range map[string]around.Protocol{"NAT-PMP": got.NATPMP, "PCP": got.PCP, "UPnP": got.UPnP} {
		if p.State != around.NotTested || p.Why == "" {
			t.Errorf("got %s %+v, want not tested, and why", name, p)
		}
	}
}
