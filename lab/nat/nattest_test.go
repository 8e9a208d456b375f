//go:build linux

package nat

import (
	"slices"
	"strings"
	"testing"

	"turnkey/lab/netns"
)

// report holds the members of nattest's report that the lab judges.
type report struct {
	Server  struct{ HTTP string }
	Verdict struct {
		Relay   string
		Caveats []string
	}
	V4, V6 family
	TURN   struct {
		State string
		URLs  []struct{ URL, State, Failed string }
	}
}

type family struct {
	UDP, NAT, Pooling string
	Ports             string `json:"port_preservation"`
	Mapping           struct {
		Behavior, Level string
		Possible        []string
	}
	Mapped  []struct{ Address string }
	Verdict struct{ Relay string }
}

// Behaviors of RFC 4787 section 4.1, as the report has them.
const (
	eim  = "endpoint-independent"
	adm  = "address-dependent"
	apdm = "address-and-port-dependent"
)

// Rules of routers.
var (
	masquerade = source(`oifname "wan0" masquerade`)
	symmetric  = source(`oifname "wan0" masquerade fully-random`)
	// A port of its own for each address of the server.
	byAddress = source(`oifname "wan0" meta l4proto udp ip daddr `+server+` snat to WAN:20000-29999`,
		`oifname "wan0" meta l4proto udp ip daddr `+server2+` snat to WAN:30000-39999`,
		`oifname "wan0" masquerade`)
	otherPorts = source(`oifname "wan0" meta l4proto udp snat to WAN:20000-29999`, `oifname "wan0" masquerade`)
	oneToOne   = source(`oifname "wan0" snat to WAN`) + `table ip in {
		chain pre {
			type nat hook prerouting priority dstnat
			iifname "wan0" meta l4proto udp dnat to ` + homeIP + `
		}
	}
	`
	pool = source(`oifname "wan0" meta l4proto udp snat to numgen inc mod 3 map { 0: 203.0.113.201, 1: 203.0.113.202, 2: 203.0.113.203 }`,
		`oifname "wan0" masquerade`)
)

// noTURN lets STUN pass and neither Allocate nor TCP on the TURN port.
var noTURN = filter("forward", `udp dport 3478 @th,64,16 0x0003 drop`, `tcp dport 3478 reject with tcp reset`)

// truth is what a report has to say; a member that is empty is not compared.
type truth struct {
	exit                     int
	relay                    string // several words are as good as each other
	udp, nat, behavior, turn string
	possible, urls           []string // urls are the states of TURN over UDP and over TCP
	text                     []string // parts of the text
}

func TestNattestNamesTheNAT(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name  string
		rules string // "": no NAT
		host  string // "": api, one address of the server
		noKey bool
		waits bool // something is blocked: it may take longer
		want  truth
	}{
		{name: "port preserving masquerade", rules: masquerade,
			want: truth{relay: "unlikely", udp: "ok", nat: "yes", behavior: eim, turn: "ok", possible: []string{eim, adm}, text: []string{"UNLIKELY TO BE NEEDED: " + eim}}},
		{name: "port preserving masquerade, two addresses", rules: masquerade, host: "turn.lab:8080",
			want: truth{relay: "unlikely", udp: "ok", nat: "yes", behavior: eim, turn: "ok", possible: []string{eim}, text: []string{"confidence high"}}},
		{name: "other ports", rules: otherPorts,
			want: truth{relay: "unlikely", udp: "ok", nat: "yes", behavior: "unknown", turn: "ok", possible: []string{eim, adm}}},
		{name: "other ports, two addresses", rules: otherPorts, host: "turn.lab:8080",
			want: truth{relay: "unlikely", udp: "ok", nat: "yes", behavior: eim, turn: "ok", possible: []string{eim}}},
		{name: "one to one", rules: oneToOne, host: "turn.lab:8080",
			want: truth{relay: "unlikely", udp: "ok", nat: "yes", behavior: eim, turn: "ok"}},
		{name: "fully random masquerade", rules: symmetric,
			want: truth{exit: 1, relay: "required", udp: "ok", nat: "yes", behavior: apdm, turn: "ok", possible: []string{apdm}, urls: []string{"ok", "ok"}, text: []string{"RELAY REQUIRED: symmetric NAT; TURN works", apdm + " mapping (confidence high"}}},
		{name: "fully random masquerade, two addresses", rules: symmetric, host: "turn.lab:8080",
			want: truth{exit: 1, relay: "required", udp: "ok", nat: "yes", behavior: apdm, turn: "ok", possible: []string{apdm}}},
		{name: "fully random masquerade, no key", rules: symmetric, noKey: true,
			want: truth{exit: 4, relay: "required", udp: "ok", nat: "yes", behavior: apdm, turn: "not_tested", text: []string{"TURN not tested", "TURNKEY_API_KEY"}}},
		{name: "fully random masquerade, TURN blocked", rules: symmetric + noTURN, waits: true,
			want: truth{exit: 3, relay: "required", udp: "ok", nat: "yes", behavior: apdm, turn: "failed", urls: []string{"failed", "failed"}, text: []string{"TURN FAILS", "UDP port 3478 is open, for STUN is answered there"}}},
		{name: "address dependent, one address", rules: byAddress,
			want: truth{relay: "unlikely", udp: "ok", nat: "yes", behavior: "unknown", turn: "ok", possible: []string{eim, adm}, text: []string{eim + " or " + adm}}},
		{name: "address dependent, two addresses", rules: byAddress, host: "turn.lab:8080",
			want: truth{exit: 1, relay: "required", udp: "ok", nat: "yes", behavior: adm, turn: "ok", possible: []string{adm}}},
		{name: "pool of addresses", rules: pool, host: "turn.lab:8080",
			want: truth{exit: 1, relay: "required likely", udp: "ok", nat: "yes", turn: "ok"}},
		{name: "no NAT", host: server,
			want: truth{relay: "unlikely", udp: "ok", nat: "no", behavior: eim, turn: "ok", text: []string{"no NAT"}}},
		{name: "UDP blocked", rules: masquerade + filter("forward", "meta l4proto udp drop"), waits: true,
			want: truth{exit: 1, relay: "required", udp: "blocked", nat: "unknown", behavior: "unknown", turn: "ok", urls: []string{"failed", "ok"},
				text: []string{"UDP is blocked", "no answer from " + server + ":3478, " + server + ":3479", "TURN works"}}},
		{name: "everything but HTTP blocked", rules: masquerade + filter("forward", "ip daddr "+server+" tcp dport != 8080 drop", "meta l4proto udp drop"), waits: true,
			want: truth{exit: 3, relay: "required", udp: "blocked", turn: "failed", text: []string{"UDP is blocked", "TURN FAILS"}}},
		{name: "second STUN port blocked", rules: symmetric + filter("forward", "udp dport 3479 drop"), waits: true,
			want: truth{exit: 4, relay: "unknown", udp: "partial", nat: "yes", behavior: "unknown", text: []string{"INCONCLUSIVE: UDP port 3479 silent", "No answer came from UDP port 3479 of the server", "Open UDP port 3479"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var client *netns.Host
			var ip string
			if tt.rules == "" {
				client, ip = w.outside(t)
			} else {
				home := w.behind(t, tt.rules)
				client, ip = home.client, home.ip
				if tt.rules == pool {
					home.router.Addr("wan0", "203.0.113.201/24", "203.0.113.202/24", "203.0.113.203/24")
				}
			}
			key, host := apiKey, tt.host
			if tt.noKey {
				key = ""
			}
			if host == "" {
				host = api
			}
			limit := prompt
			if tt.waits {
				limit = blocked
				t.Parallel()
			}
			got := turnkey(t, client, key, "nattest", "-json", host)
			var r report
			got.decode(t, &r)
			tt.want.compare(t, got.exit, r)
			if len(r.V4.Mapped) == 1 && r.V4.Mapped[0].Address != ip {
				t.Errorf("got mapped address %s, want %s", r.V4.Mapped[0].Address, ip)
			}
			text := turnkey(t, client, key, "nattest", host)
			if text.exit != tt.want.exit {
				t.Errorf("text: got exit code %d, want %d", text.exit, tt.want.exit)
			}
			for _, part := range tt.want.text {
				if !contains(text.out, part) {
					t.Errorf("text: got no %q in:\n%s", part, text.out)
				}
			}
			got.within(t, limit)
			text.within(t, limit)
		})
	}
}

// compare judges a report against the truth.
func (want truth) compare(t *testing.T, exit int, r report) {
	t.Helper()
	if exit != want.exit {
		t.Errorf("got exit code %d, want %d", exit, want.exit)
	}
	if !slices.Contains(strings.Fields(want.relay), r.Verdict.Relay) {
		t.Errorf("got relay %s, want %s", r.Verdict.Relay, want.relay)
	}
	for _, c := range []struct{ what, got, want string }{
		{"UDP", r.V4.UDP, want.udp}, {"NAT", r.V4.NAT, want.nat},
		{"mapping", r.V4.Mapping.Behavior, want.behavior}, {"TURN", r.TURN.State, want.turn},
	} {
		if c.want != "" && c.got != c.want {
			t.Errorf("got %s %q, want %q", c.what, c.got, c.want)
		}
	}
	if want.possible != nil && !slices.Equal(r.V4.Mapping.Possible, want.possible) {
		t.Errorf("got possible mappings %v, want %v", r.V4.Mapping.Possible, want.possible)
	}
	var urls []string
	for _, u := range r.TURN.URLs {
		urls = append(urls, u.State)
	}
	if want.urls != nil && !slices.Equal(urls, want.urls) {
		t.Errorf("got TURN over UDP and over TCP %v, want %v", urls, want.urls)
	}
}
