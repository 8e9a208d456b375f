package turnsrv

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bound what clients may take. In each field 0 means no limit; a nil
// *Limits in Config stands for DefaultLimits.
type Limits struct {
	// Allocations is how many there may be in all, beyond the bound that the
	// relay ports are. One more is refused with 508.
	Allocations int
	// AllocationsPerUser and AllocationsPerAddress bound those of one user (the
	// label of its credential, or the whole username where there is none) and
	// of one client address (an IPv6 /64). One more is refused with 486.
	AllocationsPerUser, AllocationsPerAddress int
	// Permissions and Channels bound those of one allocation; one more is
	// refused with 508.
	Permissions, Channels int
	// ConnectionsPerAddress bounds the TCP, TLS and DTLS connections of one
	// client address (an IPv6 /64), all listeners together; one more is closed.
	ConnectionsPerAddress int
	// Bandwidth bounds what is relayed in all, by one user and by one
	// allocation, in bits of payload a second, in each direction. Packets
	// beyond it, and beyond a burst of a quarter of a second, are dropped.
	Bandwidth, BandwidthPerUser, BandwidthPerAllocation int64
	// Session is how long an allocation may live, however often it is refreshed.
	Session time.Duration
}

// DefaultLimits are those of a Config that names none.
func DefaultLimits() *Limits {
	return &Limits{
		AllocationsPerUser: 64, AllocationsPerAddress: 256, Permissions: 64, Channels: 64,
		ConnectionsPerAddress: 64, Session: 24 * time.Hour,
	}
}

// counters count things by name, up to a limit.
type counters[K comparable] struct {
	mu    sync.Mutex
	count map[K]int
}

// add counts one more of key, unless there are limit of them already.
func (c *counters[K]) add(key K, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit > 0 && c.count[key] >= limit {
		return false
	}
	if c.count == nil {
		c.count = make(map[K]int)
	}
	c.count[key]++
	return true
}

func (c *counters[K]) remove(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count[key]--; c.count[key] <= 0 {
		delete(c.count, key)
	}
}

// network is what limits count as one client address: an IPv4 address, or an
// IPv6 /64.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// quotas count allocations.
type quotas struct {
	limits  *Limits
	all     counters[struct{}]
	users   counters[string]
	clients counters[netip.Prefix]
}

// claim counts an allocation that is about to be made, or says why it may not be.
func (q *quotas) claim(user string, client netip.Prefix) refusal {
	switch {
	case !q.all.add(struct{}{}, q.limits.Allocations):
		return refusal{code: codeCapacity, why: "the server has as many allocations as MAX_ALLOCATIONS lets it"}
	case !q.users.add(user, q.limits.AllocationsPerUser):
		q.all.remove(struct{}{})
		return refusal{code: codeQuota, why: "the user has as many allocations as MAX_ALLOCATIONS_PER_USER lets it"}
	case !q.clients.add(client, q.limits.AllocationsPerAddress):
		q.users.remove(user)
		q.all.remove(struct{}{})
		return refusal{code: codeQuota, why: "the address has as many allocations as MAX_ALLOCATIONS_PER_IP lets it"}
	}
	return refusal{}
}

// free uncounts an allocation that has ended, or was not made.
func (q *quotas) free(user string, client netip.Prefix) {
	q.all.remove(struct{}{})
	q.users.remove(user)
	q.clients.remove(client)
}

// bucket is a token bucket for bits a second, as one number: the time at which
// it is full again. It takes no lock. A nil bucket allows everything.
type bucket struct {
	rate int64 // bits a second
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
	return &bucket{rate: rate}
}

// allow takes n bytes out of the bucket, or reports that they are not there.
func (b *bucket) allow(n int, now time.Time) bool {
	if b == nil {
		return true
	}
	at := now.UnixNano()
	cost := int64(float64(n) * 8 * float64(time.Second) / float64(b.rate))
	burst := max(bucketBurst, int64(float64(bucketMinBurst)*float64(time.Second)/float64(b.rate)))
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

// get returns the buckets of user, for one more allocation.
func (u *userBuckets) get(user string) (in, out *bucket) {
	if u.rate <= 0 {
		return nil, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	b := u.of[user]
	if b == nil {
		b = &userBucket{in: newBucket(u.rate), out: newBucket(u.rate)}
		if u.of == nil {
			u.of = make(map[string]*userBucket)
		}
		u.of[user] = b
	}
	b.refs++
	return b.in, b.out
}

// put gives them back when the allocation has ended.
func (u *userBuckets) put(user string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if b := u.of[user]; b != nil {
		if b.refs--; b.refs == 0 {
			delete(u.of, user)
		}
	}
}
