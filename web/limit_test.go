package web

import (
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
