// Package web is turnkey's HTTP face: who may have credentials, the endpoints
// that hand them out, and the pages that explain the server.
//
//	GET  /              the landing page: what runs, and a snippet to copy
//	GET  /v1/ice        ICE servers with time-limited credentials ([Session])
//	POST /v1/token      a token, for who has the API key
//	GET  /healthz       200 once the server serves, 503 before
//	GET  /readyz        200 while no check of the server on itself fails ([Health])
//	GET  /metrics       for Prometheus: this host, or the API key
//	GET  /v1/sessions   the live TURN sessions; DELETE ends them: the API key
//	GET  /v1/rooms      rooms; below them who is in, kicking and telling: [Rights]
//	GET  /v1/validate   whether a join would be refused, and why
//	GET  /call          the call page; its room stands behind #
//	GET  /nat           the NAT test of a browser; its server's half is a route
//	GET  /docs/NAME     the documentation
//
// [New] makes the handler; what runs behind it (credentials, status, more
// routes) is handed over in [Config]. It starts no goroutine and opens no
// socket: time limits for reading and writing are those of the http.Server
// it is given to. [Access] is used by other endpoints too, so that all of
// them have the same rules. Every error is an [Error], as JSON with a hint.
package web

import (
	"cmp"
	"io/fs"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// Config is what New needs. Every field may be zero.
type Config struct {
	// Access decides who gets credentials; nil serves local clients.
	Access *Access
	// ICE issues credentials for a label ([A-Za-z0-9._~@-]{0,64}) that are
	// valid for ttl and held to a quota, unless it is zero. An *Error it returns
	// is sent as it is, another one is logged. nil: there are none to be had.
	ICE func(label string, ttl time.Duration, quota Quota) (Session, error)
	// TTL is the default and the maximum of /v1/ice?ttl=; 0 means 12 hours.
	TTL time.Duration
	// Status returns the facts for the landing page; nil: none.
	Status func() Status
	// Ready tells whether everything is bound; nil: always.
	Ready func() bool
	// Docs holds *.md files to be shown under /docs/; nil: none.
	Docs fs.FS
	// Operation is what the operator sees and does; the zero value: nothing.
	Operation Operation
	// Rooms is the rooms of the signaling server; the zero value: none.
	Rooms Rooms
	// Routes are further handlers by [http.ServeMux] pattern. They get the
	// security headers and the recovery from panics, and nothing else.
	Routes map[string]http.Handler
	// Limited are such handlers that take a key or a token, or cost much: they
	// also have the limit of requests that /v1/ice has.
	Limited map[string]http.Handler
	// Log gets what the operator must know; nil discards it.
	Log *slog.Logger
}

type server struct {
	Config
	mux   http.ServeMux
	limit limiter
}

// New returns the handler of all routes. It panics on a pattern in Routes or
// Limited that is malformed or taken, as [http.ServeMux.Handle] does.
func New(c Config) http.Handler {
	s := &server{Config: c}
	s.defaults()
	s.mux.HandleFunc("GET /v1/ice", s.cors(s.ice))
	s.mux.HandleFunc("OPTIONS /v1/ice", s.preflight("GET"))
	s.mux.HandleFunc("POST /v1/token", s.token)
	s.mux.HandleFunc("GET /healthz", s.healthz)
	s.operate(s.Operation)
	s.rooms(s.Rooms)
	s.pages()
	for pattern, h := range c.Routes {
		s.mux.Handle(pattern, h)
	}
	for pattern, h := range c.Limited {
		s.mux.Handle(pattern, s.limited(h))
	}
	return s
}

func (s *server) defaults() {
	s.TTL = cmp.Or(s.TTL, defaultTTL)
	if s.Access == nil {
		s.Access = &Access{}
	}
	if s.ICE == nil {
		s.ICE = func(string, time.Duration, Quota) (Session, error) {
			return Session{}, &Error{Status: 503, Code: "no_relay", Message: "this server issues no credentials",
				Hint: "Start it with `turnkey serve`."}
		}
	}
	if s.Status == nil {
		s.Status = func() Status { return Status{} }
	}
	if s.Ready == nil {
		s.Ready = func() bool { return true }
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
}

func (s *server) healthz(w http.ResponseWriter, r *http.Request) {
	if !s.Ready() {
		(&Error{Status: 503, Code: "starting", Message: "the server is starting or stopping", RetryAfter: time.Second,
			Hint: "Ask again; if it stays so, the server's log names the socket."}).ServeHTTP(w, r)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// ServeHTTP sets the security headers, routes, and turns the two errors of
// the mux and a panic into errors of this package.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header(), r)
	out := &started{ResponseWriter: w}
	defer s.recover(out, r)
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(out, r)
		return
	}
	var miss verdict
	h.ServeHTTP(&miss, r)
	miss.error(w.Header()).ServeHTTP(out, r)
}

// secure allows pages what is served here, and nothing from elsewhere.
func secure(h http.Header, r *http.Request) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" { // elsewhere browsers complain of it
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self), geolocation=()")
}

// recover answers 500 after a panic, or breaks the connection if an answer
// has begun, so that nobody takes half of it for the whole.
func (s *server) recover(w *started, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	s.Log.Error("panic in an HTTP handler, please report it", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if w.begun {
		panic(http.ErrAbortHandler)
	}
	(&Error{Status: 500, Code: "internal", Message: "the server made a mistake", Hint: hintLog}).ServeHTTP(w, r)
}

// started knows whether an answer has begun. [http.ResponseController] and
// WebSocket libraries find the connection's own writer by Unwrap.
type started struct {
	http.ResponseWriter
	begun bool
}

func (w *started) Unwrap() http.ResponseWriter { w.begun = true; return w.ResponseWriter }

func (w *started) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *started) Write(p []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(p)
}

// verdict is a ResponseWriter that keeps what the mux's own handlers for
// unknown paths and methods say, and drops their text.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header {
	if v.header == nil {
		v.header = make(http.Header)
	}
	return v.header
}
func (v *verdict) WriteHeader(status int)      { v.status = status }
func (v *verdict) Write(p []byte) (int, error) { return len(p), nil }

func (v *verdict) error(out http.Header) *Error {
	if v.status == http.StatusMethodNotAllowed {
		allow := v.header.Get("Allow")
		out.Set("Allow", allow)
		return &Error{Status: 405, Code: "method_not_allowed", Message: "this path has no such method", Hint: "Use " + allow + "."}
	}
	return &Error{Status: 404, Code: "not_found", Message: "there is nothing at this path", Hint: "The page at / lists what this server offers."}
}
