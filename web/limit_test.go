package web

import (
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{ICE: issue, Access: &Access{Mode: ModeOpen, Key: testKey}})
		ask := func(peer string, headers ...string) answer {
			r := to("GET", "/v1/ice", headers...)
			r.RemoteAddr = peer
			return do(t, h, r)
		}
		for i := range burst {
			if got := ask("[2001:db8::1]:1"); got.Code != 200 {
				t.Fatalf("request %d: got %d, want 200", i, got.Code)
			}
		}
		got := ask("[2001:db8::ffff]:1") // the same /64
		got.wantError(t, 429, "rate_limited")
		if after := got.Header().Get("Retry-After"); after != "1" {
			t.Errorf("Retry-After: got %q, want 1", after)
		}
		for name, got := range map[string]answer{
			"another /64": ask("[2001:db8:0:1::1]:1"), "IPv4": ask(remote), "the key": ask("[2001:db8::1]:1", "Authorization: Bearer "+testKey),
		} {
			if got.Code != 200 {
				t.Errorf("%s: got %d, want 200", name, got.Code)
			}
		}
		time.Sleep(time.Second)
		for i, want := range []int{200, 200, 429} {
			if got := ask("[2001:db8::1]:1"); got.Code != want {
				t.Errorf("a second later, request %d: got %d, want %d", i, got.Code, want)
			}
		}
	})
}

func TestLimiterTableIsBounded(t *testing.T) {
	var l limiter
	now := time.Now()
	flooder := netip.MustParseAddr("203.0.113.1")
	for range burst {
		l.wait(flooder, now)
	}
	for i := range 3 * maxNetworks {
		l.wait(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
		if i%1000 == 0 && l.wait(flooder, now) == 0 {
			t.Fatalf("after %d others: the flooder was forgotten while it asked", i)
		}
	}
	if len(l.buckets) != maxNetworks || l.recent.Len() != maxNetworks {
		t.Errorf("got %d buckets in a list of %d, want %d", len(l.buckets), l.recent.Len(), maxNetworks)
	}
}

// Handlers from elsewhere have the same limit as /v1/ice, and from the same tokens.
func TestLimitedRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := 0
		count := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen++ })
		h := New(Config{ICE: issue, Access: &Access{Mode: ModeOpen, Key: testKey},
			Routes: map[string]http.Handler{"GET /free": count}, Limited: map[string]http.Handler{"GET /dear": count}})
		for range burst / 2 {
			do(t, h, to("GET", "/v1/ice"))
			do(t, h, to("GET", "/dear"))
		}
		got := do(t, h, to("GET", "/dear"))
		got.wantError(t, 429, "rate_limited")
		if after := got.Header().Get("Retry-After"); after != "1" {
			t.Errorf("Retry-After: got %q, want 1", after)
		}
		do(t, h, to("GET", "/dear", "Authorization: Bearer wrong")).wantError(t, 429, "rate_limited")
		if seen != burst/2 {
			t.Errorf("the handler got %d requests, want %d", seen, burst/2)
		}
		for _, r := range []*http.Request{to("GET", "/free"), to("GET", "/dear", "Authorization: Bearer "+testKey)} {
			if got := do(t, h, r); got.Code != 200 {
				t.Errorf("%s %v: got %d, want 200", r.URL, r.Header, got.Code)
			}
		}
	})
}

// Joins have no limit, wrong tokens have. A network beyond it gets in with the key alone.
func TestWrongTokensThatJoinAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token, err := Token{TTL: time.Hour}.Sign(testKey, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		expired, err := Token{TTL: time.Second}.Sign(testKey, time.Now().Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		a := testAccess("key")
		join := func(peer, bearer string) string {
			_, err := a.Join(request(peer, "turn.example"), "demo", bearer)
			return code(err)
		}
		for range 2 * burst {
			if got := join(remote, token) + join(remote, expired) + join(remote, ""); got != "token_expiredauth_required" {
				t.Fatalf("got %q: nobody has guessed yet", got)
			}
		}
		for i := range burst {
			if got := join(remote, "wrong"); got != "token_invalid" {
				t.Fatalf("guess %d: got %q", i, got)
			}
		}
		for bearer, want := range map[string]string{"wrong": "rate_limited", token: "rate_limited", testKey: "", "": "auth_required"} {
			if got := join(remote, bearer); got != want {
				t.Errorf("after %d guesses, %.10s: got %q, want %q", burst, bearer, got, want)
			}
		}
		if got := join("[2001:db8::1]:1", token); got != "" {
			t.Errorf("from another network: got %q", got)
		}
		time.Sleep(time.Second)
		if got := join(remote, token) + join(remote, "wrong") + join(remote, "wrong") + join(remote, "wrong"); got != "token_invalidtoken_invalidrate_limited" {
			t.Errorf("a second later: got %q", got)
		}
	})
}
