//go:build linux

package nat

import (
	"strings"
	"testing"
)

func TestNattestSaysThatTheServerIsUnreachable(t *testing.T) {
	w := newWorld(t)
	_, idle := w.outside(t)
	for _, tt := range []struct{ name, rules, host, why string }{
		{"nothing listens", "", idle, "the connection was refused"},
		{"nobody has the address", "", nobody, "no "}, // route, or answer where the router is late to say so
		{"everything is dropped", filter("forward", "drop"), api, "no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := w.behind(t, masquerade+tt.rules).client
			t.Parallel()
			got := turnkey(t, client, apiKey, "nattest", "-json", tt.host)
			var r struct {
				Error struct{ Message, Hint string }
			}
			got.decode(t, &r)
			want := tt.host + " answers neither over HTTP (" + tt.why
			if got.exit != 5 || !strings.HasPrefix(r.Error.Message, want) || r.Error.Hint == "" || got.stderr != "" {
				t.Errorf("got exit code %d, %+v, stderr %q; want 5, %q with a hint, and nothing", got.exit, r.Error, got.stderr, want)
			}
			got.within(t, blocked)
		})
	}
}

func TestNattestJudgesEachFamilyAlone(t *testing.T) {
	w := newWorld(t)
	home := w.behind(t, symmetric)
	ip := w.ipv6(home)
	got := turnkey(t, home.client, apiKey, "nattest", "-json", "dual.lab:8080")
	var r report
	got.decode(t, &r)
	truth{relay: "required", udp: "ok", nat: "yes", mapping: apdm}.compare(t, got.exit, r)
	if v6 := r.V6; v6.UDP != "ok" || v6.NAT != "no" || v6.Verdict.Relay != "unlikely" || len(v6.Mapped) != 1 || v6.Mapped[0].Address != ip {
		t.Errorf("got %+v over IPv6, want no NAT, seen as %s, relay unlikely", v6, ip)
	}
	if !contains(got.out, "peers that have IPv6 are likely to be reached directly") {
		t.Errorf("got caveats %q, want one that speaks of IPv6", r.Verdict.Caveats)
	}
	got.within(t, prompt)
}
