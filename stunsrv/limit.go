package stunsrv

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// How many slots bound a Limiter's memory, at 8 bytes each.
const (
	limiterSlots = 1 << 16
	tokenSlots   = 1 << 12 // of those who have come over HTTP before
)

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
	slots    []atomic.Int64 // when the source is on time again, since start
}

// NewLimiter allows rate events a second for each source, and burst at once.
// A rate of 0 returns nil, which allows everything.
func NewLimiter(rate, burst int) *Limiter { return newLimiter(rate, burst, limiterSlots) }

func newLimiter(rate, burst, slots int) *Limiter {
	if rate <= 0 {
		return nil
	}
	interval := int64(time.Second) / int64(rate)
	return &Limiter{
		interval: interval, burst: interval * int64(max(burst, 1)),
		start: time.Now(), seed: maphash.MakeSeed(), slots: make([]atomic.Int64, slots),
	}
}

// Allow reports whether addr may have one more event now, and counts it if so.
// Loopback may always: its address cannot be forged from outside.
func (l *Limiter) Allow(addr netip.Addr) bool { return l.allow(addr, 1) }

// allow is Allow for cost events, all or none.
func (l *Limiter) allow(addr netip.Addr, cost int) bool {
	if l == nil || addr.IsLoopback() {
		return true
	}
	b := addr.As16()
	significant := b[:8] // of IPv6 a /64
	if addr.Is4() || addr.Is4In6() {
		significant = b[12:]
	}
	return l.take(significant, cost)
}

// take is allow for a source of any other kind.
func (l *Limiter) take(source []byte, cost int) bool {
	now, price := int64(time.Since(l.start)), int64(cost)*l.interval
	slot := &l.slots[maphash.Bytes(l.seed, source)%uint64(len(l.slots))]
	for {
		due := slot.Load()
		next := max(due, now) + price
		if next-now > l.burst {
			return false
		}
		if slot.CompareAndSwap(due, next) {
			return true
		}
	}
}
