package stunsrv

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// limiterSlots bounds a Limiter's memory, at 8 bytes each.
const limiterSlots = 1 << 16

// Limiter bounds how often something happens for one source: one IPv4 address
// or one IPv6 /64. It keeps no list of sources, so that a flood from forged
// ones costs neither memory nor time: a source is hashed, with a secret seed,
// into one of 65536 slots. Sources that fall into the same slot share it.
//
// It is safe for concurrent use, takes no lock and does not allocate. A nil
// Limiter allows everything.
type Limiter struct {
	interval int64 // nanoseconds for one event
	burst    int64 // nanoseconds that a source may be ahead
	start    time.Time
	seed     maphash.Seed
	slots    [limiterSlots]atomic.Int64 // when the source is on time again, since start
}

// NewLimiter allows rate events a second for each source, and burst at once.
// A rate of 0 returns nil, which allows everything.
func NewLimiter(rate, burst int) *Limiter {
	if rate <= 0 {
		return nil
	}
	interval := int64(time.Second) / int64(rate)
	return &Limiter{interval: interval, burst: interval * int64(max(burst, 1)), start: time.Now(), seed: maphash.MakeSeed()}
}

// Allow reports whether addr may have one more event now, and counts it if so.
// Loopback may always: its address cannot be forged from outside.
func (l *Limiter) Allow(addr netip.Addr) bool {
	if l == nil || addr.IsLoopback() {
		return true
	}
	now := int64(time.Since(l.start))
	slot := &l.slots[l.slot(addr)]
	for {
		due := slot.Load()
		next := max(due, now) + l.interval
		if next-now > l.burst {
			return false
		}
		if slot.CompareAndSwap(due, next) {
			return true
		}
	}
}

func (l *Limiter) slot(addr netip.Addr) uint64 {
	b := addr.As16()
	significant := b[:8] // of IPv6 a /64
	if addr.Is4() || addr.Is4In6() {
		significant = b[12:]
	}
	return maphash.Bytes(l.seed, significant) % limiterSlots
}
