package signal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// spareSockets is how many sockets there may be beyond those that fit into
// rooms: some have not joined yet, others are being told that they may not.
const spareSockets = 1024

// Server serves the WebSocket of docs/protocol.md. Make one with [New].
type Server struct {
	cfg      Config
	newID    func() string
	newToken func() string // for resuming
	jitter   int           // seconds over which clients spread their return after a goaway
	ctx      context.Context
	cancel   context.CancelFunc // of ctx: nobody need be asked any more

	mu       sync.Mutex // not held on the way of a message
	rooms    map[string]*hub
	conns    map[*conn]struct{}
	sessions map[sessionKey]*session // that may be resumed
	past     past                    // that may be no more
	perIP    map[netip.Prefix]int    // sockets, and sessions without one
	sockets  int                     // in perIP together
	draining bool
	wg       sync.WaitGroup // one for each socket

	batches sync.Pool // of *batch
	clerks  *clerks
}

// New returns a server without sockets or goroutines.
func New(cfg Config) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{
		ctx: ctx, cancel: cancel, clerks: newClerks(),
		cfg:      cfg.withDefaults(),
		newID:    func() string { return "p_" + strings.ToLower(rand.Text()[:12]) },
		newToken: func() string { return "r_" + rand.Text() },
		jitter:   goawayJitter,
		rooms:    map[string]*hub{},
		conns:    map[*conn]struct{}{},
		sessions: map[sessionKey]*session{},
		perIP:    map[netip.Prefix]int{},
		batches:  sync.Pool{New: func() any { return new(batch) }},
	}
}

// ServeHTTP upgrades the request, and returns; the socket is served until it ends. What is
// no WebSocket upgrade gets 426, a client with too many sockets 429, and
// everybody 503 when the server is full or shutting down, each with an error
// as JSON. All other refusals are told over the accepted socket, because
// browsers hide the answer to a failed upgrade from the page.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		errUpgrade().write(w, http.StatusUpgradeRequired)
		return
	}
	from := s.cfg.Client(r)
	addr := bucket(from)
	if err, status := s.enter(addr); err != nil {
		err.write(w, status)
		return
	}
	c := &conn{
		id: s.newID(), at: time.Now(), srv: s, req: r, from: from, addr: addr,
		out:  newQueue(),
		rate: rate.NewLimiter(messageRate, messageBurst),
	}
	if err := c.accept(w); err != nil {
		s.exit(addr)
		s.cfg.Log.Debug("no WebSocket", "client", addr.Addr(), "err", err)
		return
	}
	if !s.cfg.OriginAllowed(r) {
		c.end(failure(leftKicked, errOrigin(r.Header.Get("Origin")).closing(closeDenied)))
	}
	s.track(c)
	go s.serve(c)
}

// serve serves a socket until it ends, when the request and what net/http had for
// it are gone.
func (s *Server) serve(c *conn) {
	if !c.run() {
		go s.serve(c)
		return
	}
	s.untrack(c)
	s.cfg.Log.Debug("signaling socket closed", "peer", c.id, "client", c.addr.Addr(), "subject", c.subject(),
		"reason", c.ending.why, "code", int(c.ending.status), "duration", time.Since(c.at))
	s.exit(c.addr)
}

// Shutdown tells every client to go away, closes every socket and waits until
// nothing of them is left; sockets are not accepted any more. When ctx ends
// first, it cuts the connections and returns the context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.cancel()
	conns, sessions := slices.Collect(maps.Keys(s.conns)), slices.Collect(maps.Values(s.sessions))
	s.mu.Unlock()
	for _, c := range conns {
		c.drain()
	}
	for _, one := range sessions {
		one.hub.expire(one)
		s.forget(one)
	}
	done := make(chan struct{})
	go func() { s.wg.Wait(); s.clerks.leave(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		for _, c := range conns {
			c.cut()
		}
		<-done
		return ctx.Err()
	}
}

// enter counts a socket in, or says why not and with which HTTP status.
func (s *Server) enter(addr netip.Prefix) (*Error, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return errDraining(), http.StatusServiceUnavailable
	case s.sockets >= s.cfg.RoomsMax*s.cfg.RoomMax+spareSockets:
		return errServerFull(), http.StatusServiceUnavailable
	case s.perIP[addr] >= s.cfg.PeersPerIP:
		return errManySockets(s.cfg.PeersPerIP), http.StatusTooManyRequests
	}
	s.perIP[addr]++
	s.sockets++
	s.wg.Add(1)
	return nil, 0
}

func (s *Server) exit(addr netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uncount(addr)
	s.wg.Done()
}

// uncount counts one of addr out. The caller holds s.mu.
func (s *Server) uncount(addr netip.Prefix) {
	s.sockets--
	if s.perIP[addr]--; s.perIP[addr] == 0 {
		delete(s.perIP, addr)
	}
}

// track makes the socket known to Shutdown, which may have begun already.
func (s *Server) track(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	if s.draining {
		c.drain()
	}
}

// untrack forgets the socket, and its session if that has ended.
func (s *Server) untrack(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	if one := c.session.Load(); one != nil {
		s.forget(one)
	}
}

// acquire returns the room's hub, a new one if there is none.
func (s *Server) acquire(name string) (*hub, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.rooms[name]
	if h == nil {
		if len(s.rooms) >= s.cfg.RoomsMax {
			return nil, errServerFull()
		}
		h = &hub{room: room{name: name, max: s.cfg.RoomMax, seen: s.cfg.Observe}, sessions: map[string]*session{}}
		s.rooms[name] = h
	}
	h.refs++
	return h, nil
}

// release gives the hub back. The caller holds s.mu.
func (s *Server) release(h *hub) {
	if h.refs--; h.refs == 0 {
		delete(s.rooms, h.room.name)
	}
}

// Renewal of ICE servers: never sooner than renewMin, so that credentials that
// live for no time cost little, and never later than renewMax.
const (
	renewMin = 30 * time.Second
	renewMax = 24 * time.Hour
)

// issue returns ICE servers and how long to wait before the next, half their
// life; with an error, when to try again.
func (s *Server) issue(label string, g Grant) (issued, time.Duration, *Error) {
	issue := s.cfg.ICE
	if g.ICE != nil {
		issue = g.ICE
	}
	servers, expires, err := issue(label)
	if err != nil || !json.Valid(servers) {
		s.cfg.Log.Error("issuing ICE servers for a peer", "peer", label, "err", err, "valid", json.Valid(servers))
		return issued{}, renewMin, errNoICE()
	}
	next := renewMax
	if !expires.IsZero() {
		next = min(max(time.Until(expires)/2, renewMin), renewMax)
	}
	return newIssued(servers, expires), next, nil
}
