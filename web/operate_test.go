package web

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// operated is a server with one session, 7 of alice.
func operated(mode string, h Health) http.Handler {
	return New(Config{Access: testAccess(mode), Operation: Operation{
		Sessions: func() []Relay {
			return []Relay{{ID: 7, User: "alice", Client: netip.MustParseAddrPort("192.0.2.1:5000"), Relay: netip.MustParseAddrPort("203.0.113.7:49160"),
				Transport: "udp", Peers: []netip.Addr{netip.MustParseAddr("192.0.2.9")}, BytesIn: 1, BytesOut: 2, PacketsIn: 3, PacketsOut: 4, Age: 5}}
		},
		End:        func(id uint64) bool { return id == 7 },
		EndUser:    func(user string) int { return strings.Count(user, "alice") },
		Health:     func() Health { return h },
		Exposition: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "turnkey_x 1\n") }),
	}})
}

func TestSessionsAreForTheHolderOfTheKey(t *testing.T) {
	token, err := Token{TTL: time.Hour}.Sign(testKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"local", "open", "key"} {
		for _, route := range []struct{ method, path string }{
			{"GET", "/v1/sessions"}, {"DELETE", "/v1/sessions/7"}, {"DELETE", "/v1/sessions?user=alice"},
		} {
			h := operated(mode, Health{})
			for _, tt := range []struct {
				header, code string
				status       int
			}{
				{"X: y", "auth_required", 401},
				{"Authorization: Bearer wrong", "token_invalid", 401},
				{"Authorization: Bearer " + token, "key_required", 403},
			} {
				do(t, h, to(route.method, route.path, tt.header)).wantError(t, tt.status, tt.code)
			}
			do(t, h, to(route.method, route.path, "Authorization: Bearer "+testKey, "Origin: https://evil.example")).wantError(t, 403, "origin_denied")
			if got := do(t, h, to(route.method, route.path, "Authorization: Bearer "+testKey)); got.Code/100 != 2 {
				t.Errorf("%s %s in mode %s with the key: got %d %v", route.method, route.path, mode, got.Code, got.body)
			}
		}
	}
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	h, key := operated("key", Health{}), "Authorization: Bearer "+testKey
	const want = `{"sessions":[{"id":7,"user":"alice","client":"192.0.2.1:5000","relay":"203.0.113.7:49160","transport":"udp",` +
		`"peers":["192.0.2.9"],"bytesIn":1,"bytesOut":2,"packetsIn":3,"packetsOut":4,"age":5}]}`
	if got := strings.TrimSpace(do(t, h, to("GET", "/v1/sessions", key)).Body.String()); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := do(t, h, to("DELETE", "/v1/sessions/7", key)); got.Code != 204 || got.Body.Len() != 0 {
		t.Errorf("end 7: got %d %q, want 204", got.Code, got.Body)
	}
	for _, id := range []string{"8", "x", "-7", "99999999999999999999"} {
		do(t, h, to("DELETE", "/v1/sessions/"+id, key)).wantError(t, 404, "no_session")
	}
	if got := do(t, h, to("DELETE", "/v1/sessions?user=alice", key)); got.Code != 200 || got.body["ended"] != 1.0 {
		t.Errorf("end alice: got %d %v, want 1", got.Code, got.body)
	}
	for _, query := range []string{"", "?user=", "?user=a&user=b"} {
		do(t, h, to("DELETE", "/v1/sessions"+query, key)).wantError(t, 400, "user_missing")
	}
	none := New(Config{Access: testAccess("key"), Operation: Operation{Sessions: func() []Relay { return nil }}})
	if got := strings.TrimSpace(do(t, none, to("GET", "/v1/sessions", key)).Body.String()); got != `{"sessions":[]}` {
		t.Errorf("none: got %s", got)
	}
	do(t, New(Config{}), to("GET", "/v1/sessions")).wantError(t, 404, "not_found")
}

func TestWrongKeysAreLimited(t *testing.T) {
	h, wrong := operated("key", Health{}), "Authorization: Bearer wrong"
	for range burst {
		do(t, h, to("GET", "/v1/sessions", wrong))
	}
	do(t, h, to("GET", "/v1/sessions", wrong)).wantError(t, 429, "rate_limited")
	if got := do(t, h, to("GET", "/v1/sessions", "Authorization: Bearer "+testKey)); got.Code != 200 {
		t.Errorf("with the key: got %d, want 200", got.Code)
	}
}

func TestMetricsAreForThisHostOrTheKey(t *testing.T) {
	h := operated("key", Health{})
	if got := do(t, h, to("GET", "/metrics")); got.Code != 200 || got.Body.String() != "turnkey_x 1\n" {
		t.Errorf("on this host: got %d %q", got.Code, got.Body)
	}
	do(t, h, to("GET", "/metrics", "X-Forwarded-For: 127.0.0.1")).wantError(t, 401, "auth_required")
	do(t, h, to("GET", "/metrics", "Origin: https://evil.example")).wantError(t, 403, "origin_denied")
	for _, from := range []string{remote, "10.0.0.5:1"} {
		r := to("GET", "/metrics")
		r.RemoteAddr, r.Host = from, "10.0.0.1"
		do(t, h, r).wantError(t, 401, "auth_required")
		r.Header.Set("Authorization", "Bearer "+testKey)
		if got := do(t, h, r); got.Code != 200 {
			t.Errorf("from %s with the key: got %d, want 200", from, got.Code)
		}
	}
}

func TestReadiness(t *testing.T) {
	for _, tt := range []struct {
		state, text string
		status      int
	}{{CheckOK, "ok", 200}, {CheckUntested, "ok", 200}, {CheckFailed, "failed", 503}} {
		h := operated("key", Health{map[string]Check{"sockets": {CheckOK, "."}, "relay": {tt.state, "Why."}}})
		r := to("GET", "/readyz")
		r.RemoteAddr = remote
		got := do(t, h, r)
		relay, _ := got.body["checks"].(map[string]any)["relay"].(map[string]any)
		if got.Code != tt.status || got.body["status"] != tt.text || relay["state"] != tt.state || relay["detail"] != "Why." {
			t.Errorf("%s: got %d %v, want %d %s", tt.state, got.Code, got.body, tt.status, tt.text)
		}
	}
}

func TestKeyIsReplaced(t *testing.T) {
	a := testAccess("key")
	old, err := Token{TTL: time.Hour}.Sign(testKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a.SetKey("fedcba9876543210")
	expect(t, a, request(remote, "turn.example", "Authorization: Bearer fedcba9876543210"), "")
	expect(t, a, request(remote, "turn.example", "Authorization: Bearer "+testKey), "token_invalid")
	expect(t, a, request(remote, "turn.example", "Authorization: Bearer "+old), "token_invalid")
}
