package turnsrv

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Reasons for which a session ends.
const (
	EndExpired  = "expired"           // its lifetime passed without a Refresh
	EndDeleted  = "deleted by client" // Refresh with lifetime 0
	EndGone     = "client gone"       // its stream closed
	EndShutdown = "shutdown"          // the server closed
)

// Session is one allocation and what it has relayed so far.
type Session struct {
	ID        uint64         // counts from 1 in each server
	Username  string         // as authenticated
	Label     string         // the label in the username
	Client    netip.AddrPort // the client's transport address
	Relay     netip.AddrPort // the relayed transport address, as advertised
	Transport string         // between client and server: udp, tcp
	Created   time.Time

	PacketsIn, BytesIn   uint64 // payload from peers
	PacketsOut, BytesOut uint64 // payload to peers
}

// session is a live Session. Fields without a comment do not change.
type session struct {
	Session
	relay   *relay
	expires time.Time              // only for the goroutine that reads its endpoint
	ending  atomic.Bool            // no more requests: the allocation is being deleted
	reason  atomic.Pointer[string] // why it ends; the first one counts
}

func (s *session) because(reason string) { s.reason.CompareAndSwap(nil, &reason) }

// snapshot returns the session with its counters as they stand.
func (s *session) snapshot() Session {
	v := s.Session
	v.PacketsIn, v.BytesIn = s.relay.in.packets.Load(), s.relay.in.bytes.Load()
	v.PacketsOut, v.BytesOut = s.relay.out.packets.Load(), s.relay.out.bytes.Load()
	return v
}

// log writes the one line that a session leaves behind.
func (s *session) log(log *slog.Logger) {
	v, reason := s.snapshot(), EndExpired
	if r := s.reason.Load(); r != nil {
		reason = *r
	}
	log.Info("session ended", "id", v.ID, "user", v.Username, "label", v.Label, "client", v.Client, "relay", v.Relay,
		"transport", v.Transport, "bytesIn", v.BytesIn, "bytesOut", v.BytesOut, "packetsIn", v.PacketsIn, "packetsOut", v.PacketsOut,
		"denied", s.relay.denied.Load(), "duration", time.Since(v.Created).Round(time.Millisecond), "reason", reason)
}

// sessions holds the live sessions of a server.
type sessions struct {
	mu      sync.Mutex
	live    map[uint64]*session
	last    uint64
	removed chan struct{} // closed and replaced whenever a session has ended
}

func newSessions() *sessions {
	return &sessions{live: make(map[uint64]*session), removed: make(chan struct{})}
}

func (s *sessions) add(v *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	v.ID = s.last
	s.live[v.ID] = v
}

func (s *sessions) remove(v *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, v.ID)
	close(s.removed)
	s.removed = make(chan struct{})
}

func (s *sessions) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.live))
}

func (s *sessions) list() []Session {
	all := s.all()
	list := make([]Session, len(all))
	for i, v := range all {
		list[i] = v.snapshot()
	}
	return list
}

// wait returns nil when no session is live, or the error of ctx.
func (s *sessions) wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		n, removed := len(s.live), s.removed
		s.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-removed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d sessions to end: %w", n, ctx.Err())
		}
	}
}
