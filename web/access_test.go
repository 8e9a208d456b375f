package web

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

const testKey = "0123456789abcdef"

// request is a GET of /v1/ice from peer to host with headers "Name: value".
func request(peer, host string, headers ...string) *http.Request {
	r := httptest.NewRequest("GET", "/v1/ice", nil)
	r.RemoteAddr, r.Host = peer, host
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func testAccess(mode string) *Access {
	return &Access{
		Mode: mode, Key: testKey,
		Origins:        []string{"https://app.example", "http://localhost:3000/"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24"), netip.MustParsePrefix("fd09::/64")},
		Gateways:       []netip.Addr{netip.MustParseAddr("172.17.0.1"), netip.MustParseAddr("fe80::1%eth0")},
	}
}

func expect(t *testing.T, a *Access, r *http.Request, want string) Grant {
	t.Helper()
	g, err := a.Check(r)
	if got := code(err); got != want {
		t.Errorf("mode %q: got %q (%v), want %q", a.Mode, got, err, want)
	}
	if err != nil && g != (Grant{}) {
		t.Errorf("mode %q: refused and yet granted %+v", a.Mode, g)
	}
	if err != nil && (err.Hint == "" || err.Message == "") {
		t.Errorf("mode %q: %q lacks a message or a hint", a.Mode, err.Code)
	}
	return g
}

func code(err *Error) string {
	if err == nil {
		return ""
	}
	return err.Code
}

func TestOrigin(t *testing.T) {
	tests := []struct {
		name    string
		host    string
		headers []string
		want    bool
	}{
		{"no page", "turn.example", nil, true},
		{"same host", "turn.example:8080", []string{"Origin: http://turn.example:8080"}, true},
		{"same host, TLS ended by a proxy", "turn.example", []string{"Origin: https://turn.example"}, true},
		{"same host with the default port", "turn.example:443", []string{"Origin: https://turn.example"}, true},
		{"same host, other case", "Turn.Example", []string{"Origin: https://turn.example"}, true},
		{"other port", "turn.example:8080", []string{"Origin: http://turn.example:3000"}, false},
		{"other default port", "turn.example:443", []string{"Origin: http://turn.example"}, false},
		{"listed", "turn.example", []string{"Origin: https://app.example"}, true},
		{"listed with a slash", "turn.example", []string{"Origin: http://localhost:3000"}, true},
		{"listed by another scheme", "turn.example", []string{"Origin: http://app.example"}, false},
		{"below a listed one", "turn.example", []string{"Origin: https://x.app.example"}, false},
		{"beginning like a listed one", "turn.example", []string{"Origin: https://app.example.evil"}, false},
		{"null", "turn.example", []string{"Origin: null"}, false},
		{"null as host", "null", []string{"Origin: null"}, false},
		{"empty", "", []string{"Origin: "}, false},
		{"other scheme", "turn.example", []string{"Origin: file://turn.example"}, false},
		{"with a path", "turn.example", []string{"Origin: https://turn.example/x"}, false},
		{"with a user", "turn.example", []string{"Origin: https://turn.example@turn.example"}, false},
		{"two", "turn.example", []string{"Origin: https://turn.example", "Origin: https://app.example"}, false},
		{"fetch of the same page", "turn.example", []string{"Sec-Fetch-Site: same-origin"}, true},
		{"typed by the user", "turn.example", []string{"Sec-Fetch-Site: none"}, true},
		{"another site's tag", "turn.example", []string{"Sec-Fetch-Site: cross-site"}, false},
		{"a sister site's tag", "turn.example", []string{"Sec-Fetch-Site: same-site"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, r := testAccess("open"), request(remote, tt.host, tt.headers...)
			if got := a.OriginAllowed(r); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			a.Origins = []string{"*"}
			if !a.OriginAllowed(r) {
				t.Error("with * as origin: got false, want true")
			}
		})
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("127.0.0.1, 198.51.100.1", "localhost:8080", "Bearer a.b.c", "http://localhost:8080")
	f.Add("[fe80::1%25x]:80,,", "[::1", "Bearer", "null")
	f.Add("", "", "", "")
	f.Fuzz(func(t *testing.T, xff, host, auth, origin string) {
		for _, mode := range []string{ModeLocal, ModeKey} {
			r := request(proxy, host)
			r.Header["X-Forwarded-For"] = []string{xff}
			r.Header["Authorization"] = []string{auth}
			r.Header["Origin"] = []string{origin}
			g, err := testAccess(mode).Check(r)
			if err != nil {
				continue
			}
			if right := strings.Contains(auth, testKey); mode == ModeKey && !right || g.Token {
				t.Fatalf("granted for %q", auth)
			}
			name, addr := parseHost(host)
			if !g.Key && (!isLocal(g.Client) || !isLocal(addr) && !isLocalhost(name)) {
				t.Fatalf("granted to %v at %q", g.Client, host)
			}
		}
		name, addr := parseHost(host)
		if name != "" && addr.IsValid() || name != strings.ToLower(name) || addr.Is4In6() || addr.Zone() != "" {
			t.Fatalf("host %q gave %q and %v", host, name, addr)
		}
		if hop := parseHop(xff); hop.Is4In6() || hop.Zone() != "" {
			t.Fatalf("hop %q gave %v", xff, hop)
		}
	})
}
