package web

import (
	"container/list"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	perSecond   = 2    // requests a second that a network may make for long
	burst       = 20   // requests it may make at once
	maxNetworks = 8192 // networks remembered; about 2 MB
)

// limiter is a token bucket per network: one IPv4 address, or one IPv6 /64,
// within which a client may choose its address. When its table is full, the
// network that asked least recently is forgotten, so that nobody can make it
// grow, and who floods is always remembered.
type limiter struct {
	mu      sync.Mutex
	buckets map[netip.Prefix]*list.Element
	recent  list.List // of *bucket, the latest in front
}

type bucket struct {
	network netip.Prefix
	*rate.Limiter
}

// wait takes a token of client's network and returns 0, or says how long
// until there is one.
func (l *limiter) wait(client netip.Addr, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.bucket(network(client)).ReserveN(now, 1)
	d := r.DelayFrom(now)
	if d > 0 {
		r.CancelAt(now)
	}
	return d
}

func (l *limiter) bucket(n netip.Prefix) *bucket {
	if e, ok := l.buckets[n]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*bucket)
	}
	if len(l.buckets) >= maxNetworks {
		oldest := l.recent.Remove(l.recent.Back()).(*bucket)
		delete(l.buckets, oldest.network)
	}
	if l.buckets == nil {
		l.buckets = make(map[netip.Prefix]*list.Element)
	}
	b := &bucket{n, rate.NewLimiter(perSecond, burst)}
	l.buckets[n] = l.recent.PushFront(b)
	return b
}

// spent says how long until client's network has a token, and takes none.
func (l *limiter) spent(client netip.Addr, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.buckets[network(client)]
	if !ok {
		return 0
	}
	missing := 1 - e.Value.(*bucket).TokensAt(now)
	return max(0, time.Duration(missing/perSecond*float64(time.Second)))
}

// spend counts a request against the limit of its network, or says that there
// were too many. The holder of the API key is not limited: it may be a backend
// that asks for all its users.
func (s *server) spend(r *http.Request) *Error {
	if s.Access.isKey(bearer(r.Header)) {
		return nil
	}
	if wait := s.limit.wait(s.Access.Client(r), time.Now()); wait > 0 {
		return errRate(wait)
	}
	return nil
}

// limited puts the limit before h.
func (s *server) limited(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.spend(r); err != nil {
			err.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// network is the zero prefix for an unknown address: such clients share.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}
