package web

import (
	"fmt"
	"net/http"
	"time"
)

// How long a token is good, unless asked otherwise, and at most.
const (
	tokenTTL    = time.Hour
	maxTokenTTL = 30 * 24 * time.Hour
)

// token answers POST /v1/token?room=&subject=&perm=&ttl=&relayTTL=&allocations=&bandwidth=
// with a [Token] of that, times in seconds and bandwidth in bits a second, for the
// holder of the API key, and for a program of this host where local clients
// are served without one. A token begets no token.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	token, expires, err := s.newToken(r)
	if err != nil {
		err.ServeHTTP(w, r)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expiresAt"`
	}{token, expires})
}

func (s *server) newToken(r *http.Request) (string, time.Time, *Error) {
	grant, denied := s.check(r)
	if denied != nil {
		return "", time.Time{}, denied
	}
	if !grant.Key && (grant.Token || s.Access.Mode == ModeKey || !s.Access.direct(r)) {
		return "", time.Time{}, &Error{Status: 403, Code: "key_required",
			Message: "tokens are made for the holder of the API key, or on the server's own host",
			Hint:    "Send \"Authorization: Bearer\" with TURNKEY_API_KEY, or run `turnkey token` on the server."}
	}
	room, ttl, bad := query(r, "room", "._~-", tokenTTL, maxTokenTTL)
	if bad != nil {
		return "", time.Time{}, bad
	}
	subject := r.URL.Query().Get("subject")
	if !isName(subject, "._~@-") {
		return "", time.Time{}, errQuery("subject_invalid", fmt.Sprintf("subject %.80q has a character or length that is not allowed", subject),
			"Use at most 64 of A-Z a-z 0-9 . _ ~ @ -.")
	}
	rights, err := ParseRights(r.URL.Query().Get("perm"))
	if err != nil {
		return "", time.Time{}, errQuery("perm_invalid", err.Error(), "List rights separated by commas, or leave ?perm= out for join and relay.")
	}
	relayTTL, bad := seconds(r.URL.Query(), "relayTTL", 0, maxTokenTTL)
	if bad != nil {
		return "", time.Time{}, bad
	}
	allocations, bad := number(r.URL.Query(), "allocations", 1, maxAllocations)
	if bad != nil {
		return "", time.Time{}, bad
	}
	bandwidth, bad := number(r.URL.Query(), "bandwidth", minBandwidth, maxBandwidth)
	if bad != nil {
		return "", time.Time{}, bad
	}
	now := time.Now().UTC().Truncate(time.Second)
	token, err := Token{
		Room: room, Subject: subject, Rights: rights, TTL: ttl, RelayTTL: relayTTL, Allocations: int(allocations), Bandwidth: bandwidth,
	}.Sign(s.Access.key(), now)
	if err != nil {
		return "", time.Time{}, &Error{Status: 409, Code: "no_key", Message: err.Error(),
			Hint: "On the server set TURNKEY_API_KEY to 16 random bytes or more; tokens are signed with it."}
	}
	return token, now.Add(ttl), nil
}
