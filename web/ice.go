package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

const (
	minTTL     = time.Minute
	defaultTTL = 12 * time.Hour
	corsMaxAge = "600" // seconds for which a browser may keep a preflight's answer
	hintLog    = "The server's log says why."
)

// Session is the answer of /v1/ice: what RTCPeerConnection wants as
// iceServers, and how long new relays can be made with it.
type Session struct {
	ICEServers []ICEServer `json:"iceServers"`
	ExpiresAt  time.Time   `json:"expiresAt"` // sent as RFC 3339, UTC, whole seconds
	TTL        int         `json:"ttl"`       // seconds
}

// ICEServer is an RTCIceServer of W3C WebRTC, section 4.2.4.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// WithoutRelays is the session for who may not relay: STUN only.
func (s Session) WithoutRelays() Session {
	s.ICEServers = slices.DeleteFunc(slices.Clone(s.ICEServers), func(i ICEServer) bool { return i.Credential != "" })
	return s
}

// cors lets pages of allowed origins read what next answers, errors and
// Retry-After too. Other pages get an error that they cannot read: not even
// that a turnkey server is at this address is their business.
func (s *server) cors(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		if !s.Access.OriginAllowed(r) {
			errOrigin(origin).ServeHTTP(w, r)
			return
		}
		if origin != "" {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Expose-Headers", "Retry-After")
		}
		next(w, r)
	}
}

// preflight answers what a browser asks before it sends an Authorization
// header, or one of these methods, to another origin (Fetch Standard,
// CORS-preflight request).
func (s *server) preflight(methods string) http.HandlerFunc {
	return s.cors(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Methods", methods)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		h.Set("Access-Control-Max-Age", corsMaxAge)
		w.WriteHeader(http.StatusNoContent)
	})
}

// check applies the rate limit and the access rules.
func (s *server) check(r *http.Request) (Grant, *Error) {
	if err := s.spend(r); err != nil {
		return Grant{}, err
	}
	return s.Access.Check(r)
}

// ice answers GET /v1/ice?label=L&ttl=SECONDS with a Session. The label of a
// token that names its subject is that subject.
func (s *server) ice(w http.ResponseWriter, r *http.Request) {
	session, err := s.session(r)
	if err != nil {
		err.ServeHTTP(w, r)
		return
	}
	session.ExpiresAt = session.ExpiresAt.UTC().Truncate(time.Second)
	writeJSON(w, http.StatusOK, session)
}

func (s *server) session(r *http.Request) (Session, *Error) {
	grant, denied := s.check(r)
	if denied != nil {
		return Session{}, denied
	}
	label, ttl, bad := query(r, "label", "._~@-", s.TTL, s.TTL)
	if bad != nil {
		return Session{}, bad
	}
	if label = cmp.Or(label, grant.Subject); grant.Subject != "" && label != grant.Subject {
		return Session{}, &Error{Status: 403, Code: "label_denied",
			Message: fmt.Sprintf("the token is for %.80q, not for %q", grant.Subject, label),
			Hint:    "Leave ?label= out, or make a token for that label."}
	}
	if !isName(label, "._~@-") {
		return Session{}, errTokenInvalid("its subject cannot be a label, which is [A-Za-z0-9._~@-]{0,64}")
	}
	if grant.RelayTTL > 0 {
		ttl = min(ttl, grant.RelayTTL)
	}
	session, err := s.ICE(label, ttl, grant.Quota)
	if own := (*Error)(nil); errors.As(err, &own) {
		return Session{}, own
	} else if err != nil {
		s.Log.Error("cannot issue ICE servers", "label", label, "error", err)
		return Session{}, &Error{Status: 500, Code: "internal", Message: "cannot issue credentials", Hint: hintLog}
	}
	if !grant.Rights.Has(RightRelay) {
		session = session.WithoutRelays()
	}
	return session, nil
}

// query reads a name (of letters, digits and extra) and ?ttl=, see [seconds].
func query(r *http.Request, name, extra string, ttl, most time.Duration) (string, time.Duration, *Error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", 0, errQuery("query_invalid", "the query cannot be read: "+err.Error(), "Encode special characters as %XX.")
	}
	value := q.Get(name)
	if !isName(value, extra) {
		return "", 0, errQuery(name+"_invalid", fmt.Sprintf("%s %.80q has a character or length that is not allowed", name, value),
			"Use at most 64 of A-Z a-z 0-9 "+extra+".")
	}
	ttl, bad := seconds(q, "ttl", ttl, most)
	return value, ttl, bad
}

// seconds reads whole seconds from a minute to most; more than most is taken as
// most, and none is what stands for nothing.
func seconds(q url.Values, name string, none, most time.Duration) (time.Duration, *Error) {
	if !q.Has(name) {
		return none, nil
	}
	least := min(minTTL, most)
	n, err := strconv.ParseUint(q.Get(name), 10, 62)
	if err != nil || n < uint64(least/time.Second) {
		return 0, errQuery("ttl_invalid", fmt.Sprintf("%s %.20q is not a number of seconds from %d", name, q.Get(name), int(least.Seconds())),
			fmt.Sprintf("Ask for %d to %d seconds, or leave ?%s= out; TURNKEY_CREDENTIAL_TTL bounds that of credentials.", int(least.Seconds()), int(most.Seconds()), name))
	}
	return time.Duration(min(n, uint64(most/time.Second))) * time.Second, nil
}

// number reads a whole number from least to most; 0 stands for one that is not there.
func number(q url.Values, name string, least, most int64) (int64, *Error) {
	if !q.Has(name) {
		return 0, nil
	}
	n, err := strconv.ParseInt(q.Get(name), 10, 64)
	if err != nil || n < least || n > most {
		return 0, errQuery("quota_invalid", fmt.Sprintf("%s %.20q is not a number from %d to %d", name, q.Get(name), least, most),
			"Write digits only, or leave ?"+name+"= out for what the server lets a user have.")
	}
	return n, nil
}
