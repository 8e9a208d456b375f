package web

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
)

// Relay is one live TURN session, as GET /v1/sessions tells it. In is from
// peers, Out is to peers, payload only.
type Relay struct {
	ID         uint64         `json:"id"`
	User       string         `json:"user"` // the label of its credential, or the username
	Client     netip.AddrPort `json:"client"`
	Relay      netip.AddrPort `json:"relay"`
	Transport  string         `json:"transport"` // udp, tcp, tls or dtls
	Peers      []netip.Addr   `json:"peers"`     // that it may exchange packets with
	BytesIn    uint64         `json:"bytesIn"`
	BytesOut   uint64         `json:"bytesOut"`
	PacketsIn  uint64         `json:"packetsIn"`
	PacketsOut uint64         `json:"packetsOut"`
	Age        int64          `json:"age"` // seconds
	Quota      *Quota         `json:"quota,omitempty"`
}

// Operation is what the operator's endpoints show and do. Nil functions leave
// their endpoints out.
type Operation struct {
	Sessions   func() []Relay
	End        func(id uint64) bool      // reports whether there was such a session
	EndUser    func(user string) (n int) // returns how many there were
	Health     func() Health
	Exposition http.Handler // of GET /metrics
}

// The values of [Check.State].
const (
	CheckOK       = "ok"
	CheckUntested = "untested"
	CheckFailed   = "failed"
)

// Check is the result of one check of the server on itself.
type Check struct {
	State  string `json:"state"`  // CheckOK, CheckUntested or CheckFailed
	Detail string `json:"detail"` // a sentence for a person
}

// Health is what GET /readyz answers: 200 unless a check has failed.
type Health struct {
	Checks map[string]Check `json:"checks"`
}

// Failed reports whether a check has failed.
func (h Health) Failed() bool {
	for _, c := range h.Checks {
		if c.State == CheckFailed {
			return true
		}
	}
	return false
}

// operate adds the operator's routes.
func (s *server) operate(o Operation) {
	if o.Sessions != nil {
		s.mux.HandleFunc("GET /v1/sessions", s.keyed(func(w http.ResponseWriter, _ *http.Request) {
			list := o.Sessions()
			if list == nil {
				list = []Relay{}
			}
			writeJSON(w, http.StatusOK, map[string][]Relay{"sessions": list})
		}))
	}
	if o.End != nil {
		s.mux.HandleFunc("DELETE /v1/sessions/{id}", s.keyed(func(w http.ResponseWriter, r *http.Request) {
			id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
			if err != nil || !o.End(id) {
				errNoSession(r.PathValue("id")).ServeHTTP(w, r)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}))
	}
	if o.EndUser != nil {
		s.mux.HandleFunc("DELETE /v1/sessions", s.keyed(func(w http.ResponseWriter, r *http.Request) {
			user := r.URL.Query()["user"]
			if len(user) != 1 || user[0] == "" {
				errQuery("user_missing", "whose sessions?", "Name one user: DELETE /v1/sessions?user=U; GET /v1/sessions lists them.").ServeHTTP(w, r)
				return
			}
			writeJSON(w, http.StatusOK, map[string]int{"ended": o.EndUser(user[0])})
		}))
	}
	if o.Health != nil {
		s.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
			h := o.Health()
			status, text := http.StatusOK, "ok"
			if h.Failed() {
				status, text = http.StatusServiceUnavailable, "failed"
			}
			writeJSON(w, status, struct {
				Status string `json:"status"`
				Health
			}{text, h})
		})
	}
	if o.Exposition != nil {
		s.mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
			if bearer(r.Header) == "" && s.Access.direct(r) && s.Access.OriginAllowed(r) {
				o.Exposition.ServeHTTP(w, r)
				return
			}
			s.keyed(o.Exposition.ServeHTTP)(w, r)
		})
	}
}

// keyed lets only the API key itself through to h; a token is not enough.
func (s *server) keyed(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := s.keyHolder(r); err != nil {
			err.ServeHTTP(w, r)
			return
		}
		h(w, r)
	}
}

func (s *server) keyHolder(r *http.Request) *Error {
	a, b := s.Access, bearer(r.Header)
	switch {
	case !a.OriginAllowed(r):
		return errOrigin(r.Header.Get("Origin"))
	case b == "":
		return &Error{Status: 401, Code: "auth_required", Message: "this is for the holder of the API key", Hint: hintKeyOnly}
	}
	if a.isKey(b) {
		return nil
	}
	if err := s.spend(r); err != nil {
		return err
	}
	var g Grant
	err := a.accept(&g, b)
	if err != nil {
		err.Hint = hintKeyOnly
	} else {
		err = &Error{Status: 403, Code: "key_required", Message: "a token is not enough: this is for the holder of the API key", Hint: hintKeyOnly}
	}
	return err
}

const hintKeyOnly = "Send \"Authorization: Bearer\" with the server's TURNKEY_API_KEY; if it is not set, set it."

func errNoSession(id string) *Error {
	return &Error{Status: 404, Code: "no_session", Message: fmt.Sprintf("there is no session %.40q", id),
		Hint: "It may have ended; GET /v1/sessions lists the live ones."}
}
