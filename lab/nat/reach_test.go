//go:build linux

package nat

import (
	"strings"
	"testing"
	"time"
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
	if v6 := r.V6; v6.UDP != "ok" || v6.NAT != "no" || v6.Verdict.Relay != "not_required" || len(v6.Mapped) != 1 || v6.Mapped[0].Address != ip {
		t.Errorf("got %+v over IPv6, want no NAT, seen as %s, relay not required", v6, ip)
	}
	if !contains(got.out, "peers that have IPv6 are likely to be reached directly") {
		t.Errorf("got caveats %q, want one that speaks of IPv6", r.Verdict.Caveats)
	}
	got.within(t, prompt)
}

// secureIP is of a server that serves TLS on port 443.
const secureIP = "203.0.113.22"

// Where nothing but HTTPS gets out, TURN over TLS is the way.
func TestNattestWhereOnlyPort443IsOpen(t *testing.T) {
	w := newWorld(t)
	root := issue(t, nil, "Lab Root", time.Hour)
	w.elsewhere(t, "secure", func() { w.secure(t, secureIP, "secure.lab", issue(t, root, "secure.lab", time.Hour)) }, secureIP)
	client := w.behind(t, masquerade+filter("forward", "meta l4proto udp drop", "meta l4proto tcp ct original proto-dst != 443 drop")).client
	env := []string{"TURNKEY_API_KEY=" + apiKey, "SSL_CERT_FILE=" + writePEM(t, root), "SSL_CERT_DIR=/nonexistent"}
	got := turnkeyIn(t, client, env, "nattest", "-json", "secure.lab")
	var r report
	got.decode(t, &r)
	truth{relay: "required", udp: "blocked", nat: unknown, mapping: unknown, classic: "UDP blocked"}.compare(t, got.exit, r)
	works := map[string]bool{}
	for _, u := range r.TURN.URLs {
		works[u.URL] = u.State == "ok"
	}
	if !works["turns:secure.lab:443?transport=tcp"] || works["turn:secure.lab:3478?transport=tcp"] {
		t.Errorf("got %v, want TURN over TLS on port 443 and nothing else", works)
	}
	got.within(t, blocked)
}

// Relay ports that are closed from outside: relays reach each other inside the
// server, and nothing else reaches them.
func TestNattestWhereRelayPortsAreClosed(t *testing.T) {
	w := newWorld(t)
	w.machine.NFT(filter("input", `iifname "eth0" udp dport 49160-49359 drop`))
	client := w.behind(t, kind("apdm", "apdf")).client
	got := turnkey(t, client, apiKey, "nattest", "-json", api)
	if !contains(got.out, "TURNKEY_RELAY_PORTS") {
		t.Errorf("got no advice to open TURNKEY_RELAY_PORTS: %s", keep(t, got.out))
	}
	got.within(t, blocked)
}
