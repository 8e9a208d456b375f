package turnsrv

import (
	"sync"
	"sync/atomic"
	"time"
)

// bucket is a token bucket for bits a second, as one number: the time at which
// it is full again. It takes no lock. A nil bucket allows everything.
type bucket struct {
	rate atomic.Int64 // bits a second
	due  atomic.Int64
}

const (
	bucketBurst    = int64(time.Second / 4)
	bucketMinBurst = 32 * 1500 * 8 // bits: a burst of video fits, however low the rate
)

func newBucket(rate int64) *bucket {
	if rate <= 0 {
		return nil
	}
	b := new(bucket)
	b.rate.Store(rate)
	return b
}

// allow takes n bytes out of the bucket, or reports that they are not there.
func (b *bucket) allow(n int, now time.Time) bool {
	if b == nil {
		return true
	}
	at, rate := now.UnixNano(), float64(b.rate.Load())
	cost := int64(float64(n) * 8 * float64(time.Second) / rate)
	burst := max(bucketBurst, int64(float64(bucketMinBurst)*float64(time.Second)/rate))
	for {
		due := b.due.Load()
		next := max(due, at) + cost
		if next-at > burst {
			return false
		}
		if b.due.CompareAndSwap(due, next) {
			return true
		}
	}
}

// buckets are those of one direction that a packet of one allocation has to pass.
type buckets struct{ allocation, user, server *bucket }

// allow reports whether n bytes may pass. What one bucket has let pass is gone
// even if the next one does not.
func (b *buckets) allow(n int) bool {
	if b.allocation == nil && b.user == nil && b.server == nil {
		return true
	}
	now := time.Now()
	return b.allocation.allow(n, now) && b.user.allow(n, now) && b.server.allow(n, now)
}

// userBuckets are the buckets of the users that have allocations.
type userBuckets struct {
	rate int64
	mu   sync.Mutex
	of   map[string]*userBucket
}

type userBucket struct {
	in, out *bucket
	refs    int
}

// get returns the buckets of a user, for one more allocation; nil if nothing
// bounds it. Of several quotas the strictest counts while any allocation is left
// that had one, so that nobody adds them up.
func (u *userBuckets) get(t taker) *userBucket {
	rate := stricter(u.rate, t.quota.Bandwidth)
	if rate <= 0 {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	b := u.of[t.user]
	if b == nil {
		b = &userBucket{in: newBucket(rate), out: newBucket(rate)}
		if u.of == nil {
			u.of = make(map[string]*userBucket)
		}
		u.of[t.user] = b
	}
	if rate < b.in.rate.Load() {
		b.in.rate.Store(rate)
		b.out.rate.Store(rate)
	}
	b.refs++
	return b
}

// put gives what get returned back when the allocation has ended.
func (u *userBuckets) put(t taker, b *userBucket) {
	if b == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if b.refs--; b.refs == 0 {
		delete(u.of, t.user)
	}
}
