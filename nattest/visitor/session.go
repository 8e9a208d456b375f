package visitor

import (
	"crypto/rand"
	"encoding/base64"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Bounds of what pages may hold.
const (
	sessionLife    = 2 * time.Minute  // of a test, and of its credentials
	allocateFresh  = 10 * time.Second // how old an Allocate may be that is pushed to
	sightingFresh  = 30 * time.Second // how old a Binding request may be that counts
	maxSessions    = 512
	maxPerNetwork  = 16   // of one IPv4 address or IPv6 /64
	maxRuns        = 64   // filtering tests at once
	maxEvents      = 64   // of one page, of each kind
	filteringLabel = "-f" // ends the label of the peer connection that is pushed to
)

// session is one page's test. Fields above mu do not change once the page knows of it.
type session struct {
	id, label string
	network   netip.Prefix
	client    netip.Addr // that HTTP saw
	host      string     // that the page came to
	begun     time.Time
	endpoints []Endpoint
	urls      []string // of TURN
	expire    *time.Timer

	mu          sync.Mutex
	allocations []Allocation
	refusals    []Refusal
	runs        [2]*run // IPv4, IPv6
}

// Allocation is a TURN allocation that was made.
type Allocation struct {
	Label     string         // of the credential
	Client    netip.AddrPort // where its Allocate came from
	Server    netip.AddrPort // the bound address that it came to
	Transport string         // udp, tcp or tls
	at        time.Time
}

// Refusal is a request of TURN that was refused.
type Refusal struct {
	Label, Transport, Method string
	Code                     int // of the error, RFC 8656 section 19
	Reason                   string
}

// Allocated notes an allocation, if it is under a credential of a page. It
// returns at once.
func (s *Server) Allocated(a Allocation) {
	a.at, a.Client, a.Server = time.Now(), unmap(a.Client), unmap(a.Server)
	if v := s.labelled(a.Label); v != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.allocations) < maxEvents {
			v.allocations = append(v.allocations, a)
		}
	}
}

// Refused notes a refusal, if it is of a credential of a page. It returns at once.
func (s *Server) Refused(f Refusal) {
	if v := s.labelled(f.Label); v != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.refusals) < maxEvents {
			v.refusals = append(v.refusals, f)
		}
	}
}

func (s *Server) labelled(label string) *session {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.labels[label]
}

func (s *Server) session(id string) *session {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sessions[id]
}

// open makes a session for a client, or returns why there is none.
func (s *Server) open(client netip.Addr, host string) (*session, *Error) {
	v := &session{id: random(), label: "nat-" + strings.ToLower(random()[:12]), network: network(client), client: client, host: host,
		begun: time.Now(), endpoints: s.Endpoints()}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return nil, &Error{Status: 503, Code: "stopping", Message: "the server is stopping", Hint: "Try again in a minute.", RetryAfter: time.Minute}
	case s.live[v.network] >= maxPerNetwork:
		return nil, &Error{Status: 429, Code: "rate_limited", Message: "too many tests from this address", RetryAfter: sessionLife,
			Hint: "Wait two minutes, then run the test again."}
	case len(s.sessions) >= maxSessions:
		return nil, &Error{Status: 503, Code: "busy", Message: "too many tests at once", Hint: "Wait a minute, then run the test again.", RetryAfter: time.Minute}
	}
	s.sessions[v.id], s.labels[v.label], s.labels[v.label+filteringLabel] = v, v, v
	s.live[v.network]++
	v.expire = time.AfterFunc(sessionLife, func() { s.forget(v) })
	return v, nil
}

// forget ends a session, and everything that its credentials hold.
func (s *Server) forget(v *session) {
	s.mu.Lock()
	if s.sessions[v.id] != v {
		s.mu.Unlock()
		return
	}
	delete(s.sessions, v.id)
	delete(s.labels, v.label)
	delete(s.labels, v.label+filteringLabel)
	if s.live[v.network]--; s.live[v.network] == 0 {
		delete(s.live, v.network)
	}
	s.mu.Unlock()
	v.expire.Stop()
	v.mu.Lock()
	for _, r := range v.runs {
		if r != nil {
			r.cancel()
		}
	}
	v.mu.Unlock()
	if s.Revoke != nil {
		s.Revoke(v.label)
		s.Revoke(v.label + filteringLabel)
	}
}

// pushable returns the allocation that proves an address of the page's peer
// connection: the latest over UDP that is fresh and of the family.
func (v *session) pushable(family int, now time.Time) (Allocation, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := len(v.allocations) - 1; i >= 0; i-- {
		a := v.allocations[i]
		if a.Label == v.label+filteringLabel && a.Transport == "udp" && familyOf(a.Client.Addr()) == family && now.Sub(a.at) <= allocateFresh {
			return a, true
		}
	}
	return Allocation{}, false
}

// of returns the endpoint bound to at, the other port of its address, and the
// other port of another address of its family. The last two may be nil.
func (v *session) of(at netip.AddrPort) (own, port, both *Endpoint) {
	for i := range v.endpoints {
		e := &v.endpoints[i]
		switch same := e.Bound.Addr() == at.Addr(); {
		case e.Bound == at:
			own = e
		case same && port == nil:
			port = e
		case !same && e.Bound.Port() != at.Port() && e.Bound.Addr().Is4() == at.Addr().Is4() && both == nil:
			both = e
		}
	}
	return own, port, both
}

// familyOf is the index of a family.
func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// network is what counts as one client: an IPv4 address or an IPv6 /64.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero prefix for an unknown address: such clients share
	return p
}

// random is a text of 128 bits that cannot be guessed.
func random() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
