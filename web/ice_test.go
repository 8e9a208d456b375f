package web

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func issue(label string, ttl time.Duration, _ Quota) (Session, error) {
	return Session{
		ICEServers: []ICEServer{{URLs: []string{"stun:h:3478"}}, {URLs: []string{"turn:h:3478?transport=udp"}, Username: "1:" + label, Credential: "c"}},
		ExpiresAt:  time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("", 3600)), TTL: int(ttl.Seconds()),
	}, nil
}

func TestICEAnswer(t *testing.T) {
	h := New(Config{ICE: issue})
	got := do(t, h, to("GET", "/v1/ice?label=bob@home&ttl=90"))
	want := `{"iceServers":[{"urls":["stun:h:3478"]},{"urls":["turn:h:3478?transport=udp"],"username":"1:bob@home","credential":"c"}],"expiresAt":"2026-01-02T02:04:05Z","ttl":90}`
	if got.Code != 200 || strings.TrimSpace(got.Body.String()) != want {
		t.Errorf("got %d %s, want 200 %s", got.Code, got.Body, want)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Vary": "Origin", "Access-Control-Allow-Origin": "", "X-Content-Type-Options": "nosniff"} {
		if got := got.Header().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestICEParameters(t *testing.T) {
	h := New(Config{ICE: issue, TTL: time.Hour})
	tests := []struct {
		query string
		ttl   float64 // seconds granted, 0 = refused
		code  string
	}{
		{"", 3600, ""},
		{"ttl=60", 60, ""},
		{"ttl=3601", 3600, ""},
		{"ttl=4611686018427387903", 3600, ""},
		{"label=AZaz09._~@-", 3600, ""},
		{"label=" + strings.Repeat("a", 64), 3600, ""},
		{"ttl=59", 0, "ttl_invalid"},
		{"ttl=0", 0, "ttl_invalid"},
		{"ttl=-60", 0, "ttl_invalid"},
		{"ttl=", 0, "ttl_invalid"},
		{"ttl=1e3", 0, "ttl_invalid"},
		{"ttl=99999999999999999999999", 0, "ttl_invalid"},
		{"label=" + strings.Repeat("a", 65), 0, "label_invalid"},
		{"label=a:b", 0, "label_invalid"},
		{"label=%C3%A9", 0, "label_invalid"},
		{"label=a%00", 0, "label_invalid"},
		{"label=%zz", 0, "query_invalid"},
	}
	for i, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			r := to("GET", "/v1/ice?"+tt.query)
			r.RemoteAddr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 9).String()
			got := do(t, h, r)
			if tt.code != "" {
				got.wantError(t, 400, tt.code)
			} else if got.body["ttl"] != tt.ttl {
				t.Errorf("got %v, want ttl %v", got.body, tt.ttl)
			}
		})
	}
}

func TestICEFailures(t *testing.T) {
	var log strings.Builder
	fail := func(err error) http.Handler {
		return New(Config{Log: slog.New(slog.NewTextHandler(&log, nil)),
			ICE: func(string, time.Duration, Quota) (Session, error) { return Session{}, err }})
	}
	do(t, fail(errors.New("inner detail")), to("GET", "/v1/ice")).wantError(t, 500, "internal")
	if !strings.Contains(log.String(), "inner detail") {
		t.Errorf("log: got %q, want the reason", log.String())
	}
	do(t, fail(&Error{Status: 503, Code: "draining", Message: "m", Hint: "h"}), to("GET", "/v1/ice")).wantError(t, 503, "draining")
	do(t, New(Config{}), to("GET", "/v1/ice")).wantError(t, 503, "no_relay")
}

func TestTokenNamesTheLabel(t *testing.T) {
	h := New(Config{ICE: issue, Access: testAccess("key")})
	ask := func(subject, query string) answer {
		token, err := Token{Subject: subject, TTL: time.Hour}.Sign(testKey, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return do(t, h, to("GET", "/v1/ice?"+query, "Authorization: Bearer "+token))
	}
	for _, query := range []string{"", "label=bob"} {
		if got := ask("bob", query); !strings.Contains(got.Body.String(), `"1:bob"`) {
			t.Errorf("subject bob, query %q: got %s, want the label bob", query, got.Body)
		}
	}
	ask("bob", "label=eve").wantError(t, 403, "label_denied")
	if got := ask("", "label=eve"); !strings.Contains(got.Body.String(), `"1:eve"`) {
		t.Errorf("no subject: got %s, want the label asked for", got.Body)
	}
}

func TestCORS(t *testing.T) {
	h := New(Config{ICE: issue, Access: testAccess("key")})
	allowed, evil := "Origin: https://app.example", "Origin: https://evil.example"
	readable := func(a answer) bool { return a.Header().Get("Access-Control-Allow-Origin") == "https://app.example" }

	pre := do(t, h, to("OPTIONS", "/v1/ice", allowed, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization"))
	if pre.Code != 204 || !readable(pre) || pre.Header().Get("Access-Control-Allow-Headers") != "Authorization, Content-Type" || pre.Header().Get("Vary") != "Origin" {
		t.Errorf("preflight: got %d %v", pre.Code, pre.Header())
	}
	got := do(t, h, to("GET", "/v1/ice", allowed, "Authorization: Bearer "+testKey))
	if got.Code != 200 || !readable(got) || got.Header().Get("Access-Control-Expose-Headers") != "Retry-After" {
		t.Errorf("with the key: got %d %v", got.Code, got.Header())
	}
	got = do(t, h, to("GET", "/v1/ice", allowed))
	got.wantError(t, 401, "auth_required")
	if !readable(got) || !strings.HasPrefix(got.Header().Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("without a key: got %v, want an error the page can read", got.Header())
	}
	for _, method := range []string{"GET", "OPTIONS"} {
		got := do(t, h, to(method, "/v1/ice", evil, "Authorization: Bearer "+testKey))
		got.wantError(t, 403, "origin_denied")
		if got.Header().Get("Access-Control-Allow-Origin") != "" || got.Header().Get("Vary") != "Origin" {
			t.Errorf("%s from another origin: got %v, want nothing it can read", method, got.Header())
		}
		if hint, _ := got.err["hint"].(string); !strings.Contains(hint, "TURNKEY_ORIGINS") {
			t.Errorf("%s from another origin: hint %q does not name TURNKEY_ORIGINS", method, hint)
		}
	}
}

func TestTokenEndpoint(t *testing.T) {
	key, good := "Authorization: Bearer "+testKey, ""
	if s, err := (Token{TTL: time.Hour}).Sign(testKey, time.Now()); err == nil {
		good = "Authorization: Bearer " + s
	}
	from := func(peer, host string, headers ...string) *http.Request {
		r := to("POST", "/v1/token?room=r1&ttl=120", headers...)
		r.RemoteAddr, r.Host = peer, host
		return r
	}
	tests := []struct {
		name, mode string
		r          *http.Request
		status     int
		code       string
	}{
		{"the key", "key", from(remote, "turn.example", key), 200, ""},
		{"the key in mode local", "local", from(remote, "turn.example", key), 200, ""},
		{"loopback in mode local", "local", from(loop, self), 200, ""},
		{"loopback in mode open", "open", from(loop, "localhost:8080"), 200, ""},
		{"loopback in mode key", "key", from(loop, self), 401, "auth_required"},
		{"a token", "key", from(loop, self, good), 403, "key_required"},
		{"a token on loopback in mode local", "local", from(loop, self, good), 403, "key_required"},
		{"a private network", "local", from(lan, "192.168.1.2"), 403, "key_required"},
		{"loopback by the private address", "local", from(loop, "192.168.1.2"), 403, "key_required"},
		{"anybody in mode open", "open", from(remote, "turn.example"), 403, "key_required"},
		{"rebound name in mode open", "open", from(loop, "evil.example"), 403, "key_required"},
		{"proxied in mode open", "open", from(loop, self, "X-Forwarded-For: 127.0.0.1"), 403, "key_required"},
		{"client of a trusted proxy", "local", from(proxy, self, "X-Forwarded-For: 127.0.0.1"), 403, "key_required"},
		{"page of another site", "local", from(loop, self, "Origin: https://evil.example"), 403, "origin_denied"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := testAccess(tt.mode)
			got := do(t, New(Config{Access: a}), tt.r)
			if tt.status != 200 {
				got.wantError(t, tt.status, tt.code)
				return
			}
			token, _ := got.body["token"].(string)
			g, err := a.Check(request(remote, "turn.example", "Authorization: Bearer "+token))
			if err != nil || g.Room != "r1" || !g.Token {
				t.Errorf("got %v, whose grant is %+v, %v", got.body, g, err)
			}
			if at, err := time.Parse(time.RFC3339, got.body["expiresAt"].(string)); err != nil || time.Until(at) > 2*time.Minute || time.Until(at) < time.Minute {
				t.Errorf("expiresAt: got %v (%v), want two minutes from now", got.body["expiresAt"], err)
			}
		})
	}
	a := &Access{Mode: ModeOpen, Key: testKey, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	do(t, New(Config{Access: a}), from(loop, self, "X-Forwarded-For: 203.0.113.9")).wantError(t, 403, "key_required")
	do(t, New(Config{Access: &Access{}}), from(loop, self)).wantError(t, 409, "no_key")
	do(t, New(Config{Access: testAccess("local")}), to("POST", "/v1/token?room=a@b")).wantError(t, 400, "room_invalid")
}
