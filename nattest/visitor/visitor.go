// Package visitor is the server's half of the NAT test in a web page. A page
// has no sockets, only peer connections, so it does what they can do, and the
// server adds what it saw and judges with the words of package nattest:
//
//   - the page gathers candidates of several peer connections, and the server
//     knows which of the addresses reached which of its STUN endpoints
//     ([Server.Heard]): that is the mapping;
//   - the server sends ICE checks (RFC 8445 section 7.2) to a peer connection
//     of the page, from its other ports and addresses: which of them are
//     answered is the filtering;
//   - the page verifies each TURN URL, and the server knows which Allocate
//     came, and which it refused and why.
//
// What the server sends goes to an address alone that it has itself seen within
// the last ten seconds in an Allocate under a credential minted for that page,
// which proves that the address is the page's; the control, which shows that
// checks arrive at all, goes to another port of it at most. It is bounded in
// packets, time, and tests at once. Memory is bounded for all pages together.
//
//	POST /v1/nat                       begin: addresses and credentials
//	POST /v1/nat/{id}/{family}/checks  send ICE checks to this peer connection
//	POST /v1/nat/{id}/{family}/{step}  wait until the step (rounds, disturb) is over
//	POST /v1/nat/{id}/report           what the page saw; the answer is the report
//
// The package opens no socket and knows no other room: see [Config].
package visitor

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Config is what New needs. Functions must be safe for concurrent use.
type Config struct {
	// Admit decides whether a request may begin a test, and for whom. A handler
	// that it returns answers the request instead.
	Admit func(*http.Request) (guest Guest, refused http.Handler)
	// Refuse answers a request with an error.
	Refuse func(w http.ResponseWriter, r *http.Request, e Error)
	// Revoke ends the TURN sessions of a label: its test is over.
	Revoke func(label string)
	// Endpoints returns the STUN endpoints that pages are told of, those of one
	// address together, the one that is also TURN's first.
	Endpoints func() []Endpoint
	// Listen opens a UDP socket on one of the addresses that endpoints are bound
	// to, on a free port.
	Listen func(netip.Addr) (net.PacketConn, error)
	// Log gets what the operator must know; nil discards it.
	Log *slog.Logger
}

// Guest is whom a test is for.
type Guest struct {
	Client netip.Addr // as HTTP saw it; invalid: not known
	// Issue makes the ICE servers for a label ([A-Za-z0-9_-]{1,40}), good for ttl.
	Issue func(label string, ttl time.Duration) ([]ICEServer, error)
}

// Endpoint is one UDP address and port of the server that answers Binding.
type Endpoint struct {
	At    netip.AddrPort // where clients reach it
	Bound netip.AddrPort // where its socket is bound: the same, unless a 1:1 NAT is in front
	Send  func(b []byte, to netip.AddrPort) (int, error)
}

// ICEServer is an RTCIceServer of W3C WebRTC, section 4.2.4.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// Error is why a request is refused, for a person and for a program.
type Error struct {
	Status              int // of HTTP
	Code, Message, Hint string
	RetryAfter          time.Duration // 0: not said
}

// Server is the server's half. New makes it, Close ends it.
type Server struct {
	Config
	mux       http.ServeMux
	sightings *sightings
	ctx       context.Context // ends with Close
	end       context.CancelFunc
	running   sync.WaitGroup

	mu       sync.RWMutex
	sessions map[string]*session  // by id
	labels   map[string]*session  // by label of a credential
	runs     map[string]*run      // by the server's ICE user fragment
	sent     map[transaction]*run // checks that may be answered
	live     map[netip.Prefix]int // sessions of a network
}

// New returns a server that answers the requests of pages.
func New(c Config) *Server {
	s := &Server{
		Config: c, sightings: newSightings(), sessions: map[string]*session{}, labels: map[string]*session{},
		runs: map[string]*run{}, sent: map[transaction]*run{}, live: map[netip.Prefix]int{},
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.mux.HandleFunc("POST /v1/nat", s.begin)
	s.mux.HandleFunc("POST /v1/nat/{id}/{family}/checks", s.checks)
	s.mux.HandleFunc("POST /v1/nat/{id}/{family}/{step}", s.await)
	s.mux.HandleFunc("POST /v1/nat/{id}/report", s.report)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.Refuse(w, r, *errUnknown()) })
	return s
}

// ServeHTTP answers the requests of the package's list, all POST.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Close ends every test and returns when nothing is running any more.
func (s *Server) Close() {
	s.end()
	s.mu.RLock()
	all := make([]*session, 0, len(s.sessions))
	for _, v := range s.sessions {
		all = append(all, v)
	}
	s.mu.RUnlock()
	for _, v := range all {
		s.forget(v)
	}
	s.running.Wait()
}
