package turnsrv

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Traffic counts packets and the bytes of their payload.
type Traffic struct{ Packets, Bytes uint64 }

// Stats is what a server has done so far, and what it holds now.
type Stats struct {
	Sessions                     int // live
	Started                      uint64
	Ended                        map[string]uint64 // by reason, one of the End constants
	Refused                      map[int]uint64    // requests, by error code; first challenges do not count
	Unanswered                   uint64            // requests that Config.Unauthenticated kept from an answer
	Connections                  int               // TCP, TLS and DTLS, open now
	FromPeers, ToPeers           Traffic           // relayed, live sessions included
	Denied, OverLimit            uint64            // packets not relayed: to a denied peer, beyond a bandwidth
	FreePortsIPv4, FreePortsIPv6 int
}

// tally is what Stats counts for good: what live sessions count is added when
// they end.
type tally struct {
	started, unanswered atomic.Uint64

	mu      sync.Mutex
	ended   map[string]uint64
	refused map[int]uint64
	past    Stats // of the sessions that have ended
}

func (t *tally) refuse(code int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused == nil {
		t.refused = make(map[int]uint64)
	}
	t.refused[code]++
}

// retire takes a session that has ended out of the live ones, and keeps what it
// counted.
func (s *Server) retire(v *session) {
	t := &s.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended == nil {
		t.ended = make(map[string]uint64)
	}
	t.ended[v.why()]++
	t.past.add(v)
	s.sessions.remove(v)
}

// add adds what a session has counted.
func (v *Stats) add(s *session) {
	now := s.snapshot()
	v.FromPeers.Packets += now.PacketsIn
	v.FromPeers.Bytes += now.BytesIn
	v.ToPeers.Packets += now.PacketsOut
	v.ToPeers.Bytes += now.BytesOut
	v.Denied += s.relay.denied.Load()
	v.OverLimit += s.relay.over.Load()
}

// Stats returns what the server has done so far. Its counters never go back.
func (s *Server) Stats() Stats {
	s.tally.mu.Lock()
	v := s.tally.past
	v.Ended, v.Refused = clone(s.tally.ended), clone(s.tally.refused)
	// A session leaves the list of live ones under this lock, too, so that it
	// counts once.
	live := s.sessions.all()
	for _, session := range live {
		v.add(session)
	}
	s.tally.mu.Unlock()
	v.Sessions, v.Started, v.Unanswered = len(live), s.tally.started.Load(), s.tally.unanswered.Load()
	for _, conns := range s.streams {
		v.Connections += conns.count()
	}
	if s.ipv4 != nil {
		v.FreePortsIPv4 = s.ipv4.ports.count()
	}
	if s.ipv6 != nil {
		v.FreePortsIPv6 = s.ipv6.ports.count()
	}
	return v
}

func clone[K comparable](m map[K]uint64) map[K]uint64 {
	c := make(map[K]uint64, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// End ends the session with that id, and reports whether there is one.
func (s *Server) End(id uint64) bool {
	return s.endAll(func(v *session) bool { return v.ID == id }) > 0
}

// EndUser ends the sessions of a user, named by label, by whom a quota is of, or by
// whole username, and returns how many there were. The user may come again while
// its credential is current.
func (s *Server) EndUser(user string) int {
	return s.endAll(func(v *session) bool {
		return v.Username == user || userOf(v.Username) == user || v.Label == user && user != ""
	})
}

func (s *Server) endAll(which func(*session) bool) (n int) {
	for _, v := range s.sessions.all() {
		if which(v) {
			v.gate.end(v, EndKicked)
			n++
		}
	}
	return n
}

// list returns the addresses that there are permissions for, in order.
func (p *permissions) list() []netip.Addr {
	p.mu.RLock()
	defer p.mu.RUnlock()
	list := make([]netip.Addr, 0, len(p.peers))
	for a := range p.peers {
		list = append(list, a)
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}
