package stunsrv

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(20, 200)
		allowed := func(addr string, tries int) (n int) {
			for range tries {
				if l.Allow(netip.MustParseAddr(addr)) {
					n++
				}
			}
			return n
		}
		if got := allowed("203.0.113.7", 1000); got != 200 {
			t.Errorf("burst: got %d, want 200", got)
		}
		if got := allowed("203.0.113.8", 10); got != 10 {
			t.Errorf("another source: got %d, want 10", got)
		}
		if got := allowed("::ffff:203.0.113.7", 1); got != 0 {
			t.Errorf("the same source written as IPv6: got %d, want 0", got)
		}
		time.Sleep(time.Second)
		if got := allowed("203.0.113.7", 1000); got != 20 {
			t.Errorf("a second later: got %d, want 20", got)
		}
		if got := allowed("2001:db8::1", 1000) + allowed("2001:db8::2", 1000) + allowed("2001:db8:0:1::1", 1000); got != 400 {
			t.Errorf("two /64: got %d, want 400", got)
		}
		if got := allowed("127.0.0.1", 1000) + allowed("::1", 1000); got != 2000 {
			t.Errorf("loopback: got %d, want 2000", got)
		}
	})
}

func TestLimiterOff(t *testing.T) {
	if l := NewLimiter(0, 200); l != nil || !l.Allow(netip.MustParseAddr("203.0.113.7")) {
		t.Error("a rate of 0 must allow everything")
	}
}

func TestLimiterCountsEveryConcurrentEvent(t *testing.T) {
	l := NewLimiter(1, 100)
	var allowed atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if l.Allow(netip.MustParseAddr("203.0.113.7")) {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := allowed.Load(); got < 100 || got > 101 {
		t.Errorf("got %d, want 100", got)
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := NewLimiter(20, 200)
	addr := netip.MustParseAddr("203.0.113.7")
	b.ReportAllocs()
	for b.Loop() {
		l.Allow(addr)
	}
}
