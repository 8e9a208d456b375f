package turnsrv

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v3"
	"turnkey/turnsrv/cred"
)

// Reasons for which a session ends.
const (
	EndExpired  = "expired"           // its lifetime passed without a Refresh
	EndDeleted  = "deleted by client" // Refresh with lifetime 0
	EndGone     = "client gone"       // its stream closed
	EndKicked   = "kicked"            // End or EndUser
	EndLimit    = "session limit"     // it lived as long as Limits.Session lets it
	EndShutdown = "shutdown"          // the server closed
)

// Session is one allocation and what it has relayed so far.
type Session struct {
	ID        uint64         // counts from 1 in each server
	Username  string         // as authenticated
	Label     string         // the label in the username
	Quota     cred.Quota     // that the username holds it to
	Client    netip.AddrPort // the client's transport address
	Server    netip.AddrPort // the server's own address that it came to
	Relay     netip.AddrPort // the relayed transport address, as advertised
	Transport string         // between client and server: udp, tcp, tls or dtls
	Created   time.Time
	Peers     []netip.Addr // that it has permissions for

	PacketsIn, BytesIn   uint64 // payload from peers
	PacketsOut, BytesOut uint64 // payload to peers
}

// session is a live Session. Fields without a comment do not change.
type session struct {
	Session
	gate        *gate
	relay       *relay
	family      byte
	key         stun.MessageIntegrity        // of the Allocate that made it
	request     [stun.TransactionIDSize]byte // its transaction
	reservation [8]byte                      // the token that it got, if any
	channels    channels
	permissions permissions
	limit       *time.Timer            // ends it after Limits.Session
	expires     time.Time              // only for the goroutine that reads its socket
	ending      atomic.Bool            // no more requests: the allocation is being deleted
	reason      atomic.Pointer[string] // why it ends; the first one counts
}

func (s *session) because(reason string) { s.reason.CompareAndSwap(nil, &reason) }

// snapshot returns the session with its counters as they stand.
func (s *session) snapshot() Session {
	v := s.Session
	v.PacketsIn, v.BytesIn = s.relay.in.packets.Load(), s.relay.in.bytes.Load()
	v.PacketsOut, v.BytesOut = s.relay.out.packets.Load(), s.relay.out.bytes.Load()
	return v
}

// why returns the reason for which s ends.
func (s *session) why() string {
	if r := s.reason.Load(); r != nil {
		return *r
	}
	return EndExpired
}

// log writes the one line that a session leaves behind.
func (s *session) log(log *slog.Logger) {
	v, reason := s.snapshot(), s.why()
	log.Info("session ended", "id", v.ID, "user", v.Username, "label", v.Label, "client", v.Client, "relay", v.Relay,
		"transport", v.Transport, "bytesIn", v.BytesIn, "bytesOut", v.BytesOut, "packetsIn", v.PacketsIn, "packetsOut", v.PacketsOut,
		"denied", s.relay.denied.Load(), "overLimit", s.relay.over.Load(), "duration", time.Since(v.Created).Round(time.Millisecond), "reason", reason)
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
		list[i].Peers = v.permissions.list()
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

// created is pion's callback when it has made an allocation for the request in
// hand, before anything is relayed.
func (g *gate) created(_, _ net.Addr, _, username, _ string, relayed net.Addr, _ int) {
	r := &g.request
	name, _ := cred.Parse(username)
	s := &session{
		gate: g, relay: g.opened, family: r.family, key: r.key, request: r.id, reservation: r.reservation,
		Session: Session{
			Username: username, Label: name.Name, Quota: name.Quota, Client: r.from, Server: addrPort(g.LocalAddr()), Relay: addrPort(relayed),
			Transport: g.transport, Created: time.Now(),
		},
	}
	g.server.sessions.add(s)
	g.server.tally.started.Add(1)
	g.mu.Lock()
	g.sessions[s.Client] = s
	g.mu.Unlock()
	r.claimed = false // the session's now
	taker := r.taker()
	bucket := g.server.userBuckets.get(taker)
	s.relay.session, s.relay.inside = s, g.server.relays(s.family).inside
	s.relay.inside.enter(s)
	s.relay.toClient, s.relay.toPeers = g.server.buckets(bucket)
	if life := g.server.quotas.limits.Session; life > 0 {
		s.limit = time.AfterFunc(life, func() { g.end(s, EndLimit) })
	}
	s.relay.whenEnded(func() {
		if s.limit != nil {
			s.limit.Stop()
		}
		s.relay.inside.leave(s)
		g.server.quotas.free(taker)
		g.server.userBuckets.put(taker, bucket)
		g.mu.Lock()
		delete(g.sessions, s.Client)
		g.mu.Unlock()
		g.hold(s.Client, false)
		s.log(g.server.log)
		g.server.retire(s)
	})
	if g.server.watch.Allocated != nil {
		g.server.watch.Allocated(s.Session)
	}
	if !g.hold(s.Client, true) { // the connection ended while its Allocate was waiting
		go g.end(s, EndGone)
	}
}

// end ends a session, if it is not nil: pion deletes an allocation whose relay
// socket fails.
func (g *gate) end(s *session, reason string) {
	if s == nil {
		return
	}
	g.handling.Lock()
	s.ending.Store(true)
	g.handling.Unlock()
	s.because(reason)
	_ = s.relay.socket.Close()
}
