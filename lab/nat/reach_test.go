//go:build linux

package nat

import "testing"

func TestNattestSaysThatTheServerIsUnreachable(t *testing.T) {
	w := newWorld(t)
	_, idle := w.outside(t)
	for _, tt := range []struct{ name, rules, host string }{
		{"nothing listens", "", idle},
		{"nobody has the address", "", "203.0.113.99"},
		{"everything is dropped", filter("forward", "drop"), api},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := w.behind(t, masquerade+tt.rules).client
			t.Parallel()
			got := turnkey(t, client, apiKey, "nattest", "-json", tt.host)
			if got.exit != 5 || got.out != "" || !contains(got.stderr, "neither over HTTP nor over STUN") {
				t.Errorf("got exit code %d, stdout %q, stderr %q; want 5, nothing, and that nothing answers", got.exit, got.out, got.stderr)
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
	truth{exit: 1, relay: "required", udp: "ok", nat: "yes", behavior: apdm, turn: "ok"}.compare(t, got.exit, r)
	if v6 := r.V6; v6.UDP != "ok" || v6.NAT != "no" || v6.Verdict.Relay != "unlikely" || len(v6.Mapped) != 1 || v6.Mapped[0].Address != ip {
		t.Errorf("got %+v over IPv6, want no NAT, seen as %s, relay unlikely", v6, ip)
	}
	if !contains(got.out, "peers that have IPv6 are likely to be reached directly") {
		t.Errorf("got caveats %q, want one that speaks of IPv6", r.Verdict.Caveats)
	}
	got.within(t, prompt)
}
