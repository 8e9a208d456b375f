package turnsrv

import (
	"cmp"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"turnkey/turnsrv/cred"
)

// Limits bound what clients may take. In each field 0 means no limit; a nil
// *Limits in Config stands for DefaultLimits.
type Limits struct {
	// Allocations is how many there may be in all, beyond the bound that the
	// relay ports are. One more is refused with 508.
	Allocations int
	// AllocationsPerUser and AllocationsPerAddress bound those of one user and
	// of one client address (an IPv6 /64). One more is refused with 486. A user is
	// who the quota of a credential is of, without one its label, and without one
	// the whole username. A quota lowers what the user may have.
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

// taker is who takes an allocation.
type taker struct {
	user   string
	quota  cred.Quota
	client netip.Prefix
}

func (r *request) taker() taker {
	u, _ := cred.Parse(r.username)
	return taker{user: userOf(r.username), quota: u.Quota, client: network(r.from.Addr())}
}

// claim counts an allocation that is about to be made, or says why it may not be.
func (q *quotas) claim(t taker) refusal {
	most := stricter(q.limits.AllocationsPerUser, t.quota.Allocations)
	switch {
	case !q.all.add(struct{}{}, q.limits.Allocations):
		return refusal{code: codeCapacity, why: "the server has as many allocations as TURNKEY_MAX_ALLOCATIONS lets it"}
	case !q.users.add(t.user, most):
		q.all.remove(struct{}{})
		if most != q.limits.AllocationsPerUser {
			return refusal{code: codeQuota, why: fmt.Sprintf("the token's quota: its turn.allocations lets all of its credentials together have %d", most)}
		}
		return refusal{code: codeQuota, why: "the user has as many allocations as TURNKEY_MAX_ALLOCATIONS_PER_USER lets it"}
	case !q.clients.add(t.client, q.limits.AllocationsPerAddress):
		q.users.remove(t.user)
		q.all.remove(struct{}{})
		return refusal{code: codeQuota, why: "the address has as many allocations as TURNKEY_MAX_ALLOCATIONS_PER_IP lets it"}
	}
	return refusal{}
}

// free uncounts an allocation that has ended, or was not made.
func (q *quotas) free(t taker) {
	q.all.remove(struct{}{})
	q.users.remove(t.user)
	q.clients.remove(t.client)
}

// stricter is the lower of two limits, of which 0 is none.
func stricter[N int | int64](a, b N) N {
	if a == 0 || b == 0 {
		return cmp.Or(a, b)
	}
	return min(a, b)
}
