package nattest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/vnet"
)

// relayRange says whether a chunk is for a relay port from outside.
func relayRange(c vnet.Chunk) bool {
	to, ok := c.DestinationAddr().(*net.UDPAddr)
	return ok && to.IP.String() == serverA && to.Port >= 49160 && to.Port <= 49359 &&
		!strings.HasPrefix(c.SourceAddr().String(), serverA+":")
}

func TestCheckNamesTheCause(t *testing.T) {
	expired := strconv.FormatInt(946684000, 10) + ":old" // before the bubble's clock starts
	for name, tt := range map[string]struct {
		lab
		key  string
		fail map[string]string // name and target of the failing items -> part of reason and hint
		none []string          // names of items that must be not_tested
	}{
		"all is well": {},
		"relay range closed from outside": {
			lab:  lab{filter: func(c vnet.Chunk) bool { return !relayRange(c) }},
			fail: map[string]string{"relay_ports UDP from here to 4 relay ports of " + serverA: "open UDP 49160-49359 (TURNKEY_RELAY_PORTS)"},
		},
		"TURN filtered, STUN answered": {
			lab: lab{filter: func(c vnet.Chunk) bool {
				m, ok := decode(c.UserData())
				return !ok || m.Type.Method != stun.MethodAllocate
			}},
			fail: map[string]string{"turn turn:server.test:3478?transport=udp": "at challenge: UDP port 3478 is open, for STUN is answered there"},
		},
		"long requests filtered": {
			lab: lab{filter: func(c vnet.Chunk) bool {
				m, ok := decode(c.UserData())
				return !ok || m.Type != stun.NewType(stun.MethodAllocate, stun.ClassRequest) || !m.Contains(stun.AttrMessageIntegrity)
			}},
			fail: map[string]string{"turn turn:server.test:3478?transport=udp": "at allocate: the first request was answered"},
		},
		"relay range closed inside too": {
			lab: lab{filter: func(c vnet.Chunk) bool {
				to := c.DestinationAddr().(*net.UDPAddr)
				return to.IP.String() != serverA || to.Port < 49160 || to.Port > 49359
			}},
			fail: map[string]string{
				"turn turn:server.test:3478?transport=udp": "at data: TURNKEY_RELAY_PORTS",
				"turn turn:server.test:3478?transport=tcp": "at data: TURNKEY_RELAY_PORTS",
			},
			none: []string{"relay_ports"},
		},
		"wrong secret": {
			lab: lab{password: func(string) string { return "other" }},
			fail: map[string]string{
				"turn turn:server.test:3478?transport=udp": "at allocate: TURNKEY_SECRET",
				"turn turn:server.test:3478?transport=tcp": "at allocate: TURNKEY_SECRET",
			},
			none: []string{"relay_ports"},
		},
		"expired credential": {
			lab: lab{username: expired, password: func(string) string { return "" }},
			fail: map[string]string{
				"credential": "expired 13 minutes before it was handed out",
				"turn turn:server.test:3478?transport=udp": "at allocate: expired at 1999-12-31T23:46:40Z",
				"turn turn:server.test:3478?transport=tcp": "at allocate: expired at 1999-12-31T23:46:40Z",
			},
			none: []string{"relay_ports"},
		},
		"TCP closed": {
			lab:  lab{noTCP: true},
			fail: map[string]string{"turn turn:server.test:3478?transport=tcp": "at connect: nothing listens on TCP port 3478"},
		},
		"UDP closed": {
			lab: lab{filter: func(c vnet.Chunk) bool {
				return strings.HasPrefix(c.SourceAddr().String(), serverA) && strings.HasPrefix(c.DestinationAddr().String(), serverA)
			}},
			fail: map[string]string{
				"stun " + serverA + ":3478":                "open UDP port 3478",
				"stun " + serverA + ":3479":                "open UDP port 3479",
				"turn turn:server.test:3478?transport=udp": "at challenge: open UDP port 3478",
			},
			none: []string{"relay_ports"},
		},
		"second STUN port closed": {
			lab:  lab{silent: []string{serverA + ":3479"}, noDoc: true},
			fail: map[string]string{"stun " + serverA + ":3479": "open UDP port 3479"},
		},
		"no key": {lab: lab{status: 401}, none: []string{"ice", "turn"}},
		"key refused": {
			lab: lab{status: 401}, key: "wrong", fail: map[string]string{"ice http://server.test:8080/v1/ice": "TURNKEY_API_KEY"},
			none: []string{"turn"},
		},
		"HTTP closed": {
			lab: lab{noHTTP: true}, fail: map[string]string{"http http://server.test:8080": "TURNKEY_HTTP"}, none: []string{"turn", "websocket"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := tt.lab
			l.nat = &vnet.NATType{FilteringBehavior: vnet.EndpointAddrPortDependent}
			l.run(t, func(t *testing.T, c Config) {
				c.Host, c.Key = "server.test:8080", tt.key
				r, err := Check(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				judgeCheck(t, r, tt.fail, tt.none)
				var text strings.Builder
				r.WriteText(&text)
				if title, _, _ := strings.Cut(text.String(), "\n"); strings.HasPrefix(title, "NOT TESTED WHOLE: ") != (name == "no key") {
					t.Errorf("got title %q", title)
				}
			})
		})
	}
}

func judgeCheck(t *testing.T, r *CheckReport, fail map[string]string, none []string) {
	t.Helper()
	var text bytes.Buffer
	r.WriteText(&text)
	checkText(t, text.String())
	found := 0
	for _, it := range r.Checks {
		want, expected := "", false
		for target, part := range fail {
			if strings.HasPrefix(it.Name+" "+it.Target, target) {
				want, expected = part, true
			}
		}
		if (it.State == "failed") != expected {
			t.Errorf("%s %s: got %s (%s), want failed %t", it.Name, it.Target, it.State, it.Reason, expected)
			continue
		}
		if expected {
			found++
			stage, part, _ := strings.Cut(want, ": ")
			if part == "" || !strings.HasPrefix(stage, "at ") {
				stage, part = "", want
			}
			if stage != "" && (it.TURN == nil || "at "+it.TURN.Failed != stage) {
				t.Errorf("%s: got %+v, want it to fail %s", it.Target, it.TURN, stage)
			}
			if got := it.Reason + "; " + it.Hint; !strings.Contains(got, part) {
				t.Errorf("%s: got %q, want it to say %q", it.Target, got, part)
			}
		}
		if wantNone := slices.Contains(none, it.Name); (it.State == "not_tested") != wantNone {
			t.Errorf("%s %s: got %s (%s), want not_tested %t", it.Name, it.Target, it.State, it.Reason, wantNone)
		}
	}
	wantExit := 0
	if len(fail) > 0 {
		wantExit = 1
	}
	if found != len(fail) || r.ExitCode() != wantExit {
		t.Errorf("got %d failures and exit %d, want %d and %d:\n%s", found, r.ExitCode(), len(fail), wantExit, text.String())
	}
	if raw, err := json.Marshal(r); err != nil || bytes.Contains(raw, []byte("null")) {
		t.Errorf("got %s, %v; want JSON without null", raw, err)
	}
}

func TestCheckOnTheServersOwnMachine(t *testing.T) {
	l := lab{onServer: true}
	l.run(t, func(t *testing.T, c Config) {
		r, err := Check(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		judgeCheck(t, r, nil, []string{"relay_ports"})
		if last := r.Checks[len(r.Checks)-1]; !strings.Contains(last.Reason, "from another network") {
			t.Errorf("got %q, want it to ask for a test from another network", last.Reason)
		}
	})
}

func TestLoopFromOutsideNeedsAnotherMachine(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, tt := range []struct{ mapped, relayed, server, stun, want string }{
		{"203.0.113.10:1", "203.0.113.10:2", "127.0.0.1", "127.0.0.1:3478", "own machine"},
		{"203.0.113.10:1", "203.0.113.11:2", "203.0.113.10", "203.0.113.10:3478", "own machine"},
		{"127.0.0.1:1", "203.0.113.10:2", "203.0.113.10", "203.0.113.10:3478", "own machine"},
		{"[2001:db8::1]:1", "203.0.113.10:2", "203.0.113.10", "[2001:db8::10]:3478", "of the relay's family"},
	} {
		a := &allocation{mapped: at(tt.mapped), relayed: at(tt.relayed)}
		o := peerLoop{&Config{}, []netip.AddrPort{at(tt.stun)}, []netip.Addr{netip.MustParseAddr(tt.server)}}
		if l := o.loop(context.Background(), a); l.State != "not_tested" || !strings.Contains(l.Why, tt.want) {
			t.Errorf("%+v: got %s: %s", tt, l.State, l.Why)
		}
	}
}

// A certificate is blamed for its own place, and for no other whose name begins
// the same.
func TestCertificateIsBlamedForItsOwnPlace(t *testing.T) {
	for target, want := range map[string]string{
		"https://a.test": "not_tested", "https://a.test/x": "not_tested", "https://a.test:443/healthz": "not_tested",
		"https://a.test:8443": "failed", "https://a.test.example": "failed", "http://a.test": "failed",
	} {
		api := []Item{{Name: "http", Target: target, State: "failed"}}
		if got := blame(api, []Item{{Name: "certificate", Target: "a.test:443", State: "failed"}})[0]; got.State != want {
			t.Errorf("%s: got %s, want %s", target, got.State, want)
		}
	}
}

// What a server writes into its status line goes to a terminal.
func TestStatusOfHTTPIsClean(t *testing.T) {
	c := Config{HTTP: &http.Client{Transport: whoAnswers(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 500, Status: "500 \x1b[2Jgone", Body: io.NopCloser(strings.NewReader(""))}, nil
	})}}
	if it := c.checkHTTP(t.Context(), target{}, facts{base: "http://a.test"})[0]; it.Reason != "HTTP 500 [2Jgone" {
		t.Errorf("got %q, want it without an escape", it.Reason)
	}
}

func TestHintCredential(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) + ":me" }
	for name, tt := range map[string]struct {
		user string
		f    facts
		want string
	}{
		"expired by this clock":    {at(-time.Minute), facts{}, "expired at 2023-11-14T22:12:20Z by this machine's clock"},
		"expired by the server's":  {at(time.Minute), facts{date: now, skew: time.Hour}, "by the HTTP server's clock"},
		"fresh by the server's":    {at(-time.Minute), facts{date: now, skew: -time.Hour}, "wrong secret"},
		"clocks differ a little":   {at(time.Minute), facts{date: now, skew: -time.Minute}, "; this machine's clock differs from the HTTP server's by 60 seconds"},
		"clocks differ":            {at(time.Minute), facts{date: now, skew: -time.Hour}, "^this machine's clock differs from the HTTP server's by 60 minutes: set the wrong one right first; wrong secret"},
		"clocks differ, expired":   {at(time.Minute), facts{date: now, skew: 24 * time.Hour}, "^this machine's clock differs from the HTTP server's by 24 hours: set the wrong one right first; the credential expired"},
		"fresh":                    {at(time.Minute), facts{}, "TURNKEY_SECRET"},
		"username without a clock": {"alice", facts{}, "TURNKEY_SECRET"},
	} {
		if got := hintCredential(tt.user, &tt.f, now); !strings.Contains("^"+got, tt.want) {
			t.Errorf("%s: got %q, want it to say %q", name, got, tt.want)
		}
	}
}

func TestHintRelayPorts(t *testing.T) {
	known := facts{doc: document{relayPorts: "50000-50099"}}
	at := netip.MustParseAddr
	for _, tt := range []struct {
		relayed string
		f       facts
		want    string
	}{
		{"203.0.113.10", known, "open UDP 50000-50099 (TURNKEY_RELAY_PORTS) in the server's firewall"},
		{"203.0.113.10", facts{}, "open the UDP ports of TURNKEY_RELAY_PORTS in the server's firewall"},
		{"203.0.113.99", known, "is 203.0.113.99 the server's public address (TURNKEY_PUBLIC_IP)? If so, open UDP 50000-50099"},
	} {
		if got := hintRelayPorts(at(tt.relayed), &tt.f, []netip.Addr{at("203.0.113.10")}); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.relayed, got, tt.want)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	good := Config{
		Host:         "x",
		ListenPacket: func(context.Context, string, string) (net.PacketConn, error) { return nil, nil },
		DialContext:  func(context.Context, string, string) (net.Conn, error) { return nil, nil },
	}
	for name, spoil := range map[string]func(*Config){
		"no host":       func(c *Config) { c.Host = "" },
		"bad host":      func(c *Config) { c.Host = "ftp://x" },
		"no sockets":    func(c *Config) { c.ListenPacket = nil },
		"too many":      func(c *Config) { c.Trials = 9 },
		"fewer than no": func(c *Config) { c.Trials = -1 },
	} {
		c := good
		spoil(&c)
		_, runErr := Run(context.Background(), c)
		_, checkErr := Check(context.Background(), c)
		for _, err := range []error{runErr, checkErr} {
			var e *Error
			if !errors.As(err, &e) || !e.Usage || e.ExitCode() != 2 {
				t.Errorf("%s: got %v, want a usage *Error with exit code 2", name, err)
			}
		}
	}
}
