//go:build linux

package nat

import (
	"strings"
	"testing"

	"turnkey/lab/netns"
)

// asked holds the members of nattest's report that are tested on demand.
type asked struct {
	Verdict struct{ Relay string }
	V4      struct {
		Hairpin  struct{ State, Why, Source string }
		Lifetime struct {
			State, Why string
			OneShot    timer `json:"one_shot"`
			Stream     timer
		}
		Fragments struct{ State, Why, Outbound, Inbound string }
		ALG       struct{ State, Why string }
	}
}

type timer struct {
	Alive    float64 `json:"alive_s"`
	Dead     float64 `json:"dead_s"`
	Unsteady bool
}

// hairpin returns what inside hosts send to the router's own address, to where
// inbound.from says, from the source that post gives it.
func hairpin(post string) string {
	return source(`oifname "wan0" masquerade`, post) + strings.Replace(filters["eif"],
		`iifname "wan0" meta l4proto udp dnat`, `ip daddr WAN meta l4proto udp dnat`, 1) + guarded
}

func TestHairpinning(t *testing.T) {
	w := newWorld(t)
	for name, tt := range map[string]struct {
		rules         string
		state, source string
	}{
		// What the router answers itself, or drops, and what it sends back.
		"outer source": {hairpin(`iifname "lan0" oifname "lan0" ct status dnat snat to WAN`), "yes", "other"},
		"inner source": {hairpin(""), "unknown", ""}, // a machine drops what it seems to have sent itself
		"refused":      {masquerade, "no", ""},
		"dropped":      {masquerade + filter("input", `iifname "lan0" meta l4proto udp drop`), "unknown", ""},
		"symmetric":    {symmetric, "no", ""},
		"no NAT":       {"", "not_tested", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var client *netns.Host
			if client, _ = w.outside(t); tt.rules != "" {
				client = w.behind(t, tt.rules).client
			}
			t.Parallel()
			got := turnkey(t, client, apiKey, "nattest", "-hairpin", "-json", "turn.lab:8080")
			var r asked
			got.decode(t, &r)
			h := r.V4.Hairpin
			if h.State != tt.state || tt.source != "" && (h.Source == "internal" || h.Source == "") || (h.Why == "") != (tt.state == "yes" || tt.state == "no") {
				t.Errorf("got %+v, want %s %s", h, tt.state, tt.source)
			}
		})
	}
}

func TestFragmentsAndGateways(t *testing.T) {
	w := newWorld(t)
	const later = `ip frag-off & 0x1fff != 0 drop` // every fragment but the first
	// Routers put fragments together to translate them: those are dropped by the
	// server's machine, or by the client's, before that.
	drop := func(hook string) string {
		return "table ip raw {\nchain c {\ntype filter hook " + hook + " priority -450\n" + later + "\n}\n}\n"
	}
	for name, tt := range map[string]struct {
		router, client       string // rules
		state, out, in, gate string
	}{
		"pass":             {masquerade, "", "yes", "yes", "yes", "no"},
		"outbound dropped": {masquerade + strings.Replace(drop("prerouting"), "ip frag", `iifname "lan0" ip frag`, 1), "", "no", "no", "unknown", "no"},
		"inbound dropped":  {masquerade, drop("prerouting"), "no", "yes", "no", "no"},
	} {
		t.Run(name, func(t *testing.T) {
			home := w.behind(t, tt.router)
			if tt.client != "" {
				home.client.NFT(tt.client)
			}
			t.Parallel()
			got := turnkey(t, home.client, apiKey, "nattest", "-fragments", "-alg", "-json", "turn.lab:8080")
			var r asked
			got.decode(t, &r)
			if f := r.V4.Fragments; f.State != tt.state || f.Outbound != tt.out || f.Inbound != tt.in {
				t.Errorf("got %+v, want %s: %s out, %s in", f, tt.state, tt.out, tt.in)
			}
			if a := r.V4.ALG; a.State != tt.gate {
				t.Errorf("got %+v, want %s", a, tt.gate)
			}
		})
	}
}

func TestLifetimes(t *testing.T) {
	w := newWorld(t)
	for name, rules := range map[string]string{"port preserving": masquerade, "symmetric": symmetric} {
		for _, host := range []string{"turn.lab:8080", api} { // two addresses, and one with a token
			t.Run(name+" "+host, func(t *testing.T) {
				home := w.behind(t, rules)
				home.router.Sysctl("net.netfilter.nf_conntrack_udp_timeout", "4")
				home.router.Sysctl("net.netfilter.nf_conntrack_udp_timeout_stream", "7")
				t.Parallel()
				got := turnkeyAtLeisure(t, home.client, apiKey, "nattest", "-lifetime=8500ms", "-json", host)
				var r asked
				got.decode(t, &r)
				life := r.V4.Lifetime
				if life.State != "measured" {
					t.Fatalf("got %+v, want it measured", life)
				}
				for _, c := range []struct {
					what       string
					got        timer
					alive, end float64
				}{{"once", life.OneShot, 3, 6}, {"as a stream", life.Stream, 5, 9.5}} {
					if c.got.Alive < c.alive || c.got.Dead > c.end || c.got.Dead <= c.got.Alive || c.got.Unsteady {
						t.Errorf("used %s: got %+v, want alive after %g s and gone by %g s", c.what, c.got, c.alive, c.end)
					}
				}
			})
		}
	}
}
