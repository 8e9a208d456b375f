package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// Error is what a client sees when it does not get what it asked for, as
// {"error":{"code","message","hint"}}. It is an [http.Handler] that writes
// itself. Codes are stable; message says what happened and hint what to do,
// by the name of the setting where there is one.
type Error struct {
	Status     int           // HTTP status
	Code       string        // for programs: lower case words joined by _
	Message    string        // for people: what happened
	Hint       string        // for people: what to do about it
	RetryAfter time.Duration // when to come again; 0: not said
}

// Error is the text for a log: code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ServeHTTP answers with the error. Nothing may have been written before.
func (e *Error) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	if e.RetryAfter > 0 {
		seconds := (e.RetryAfter + time.Second - 1) / time.Second
		h.Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="turnkey"`)
	}
	type body struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
	}
	writeJSON(w, e.Status, map[string]body{"error": {e.Code, e.Message, e.Hint}})
}

// writeJSON sends an answer that is for this client and this moment only.
func writeJSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the client went away: nobody is left to tell
}

const (
	hintKey  = "Send the server's TURNKEY_API_KEY, or a token made by `turnkey token` or your backend: over HTTP as \"Authorization: Bearer\", to a room as \"token\" in join."
	hintAuth = "TURNKEY_AUTH=local serves this host and its private networks only. On the server set TURNKEY_AUTH=key and TURNKEY_API_KEY, then send the key or a token of `turnkey token`; or set TURNKEY_AUTH=open to serve everybody."
)

func errNoKey() *Error {
	return &Error{Status: 401, Code: "auth_required", Message: "this server wants an API key or a token", Hint: hintKey}
}

// codeInvalid is of a bearer that is no key, and no token that anybody signed.
const codeInvalid = "token_invalid"

func errTokenInvalid(why string) *Error {
	return &Error{Status: 401, Code: codeInvalid, Message: "the bearer is not right: " + why, Hint: hintKey}
}

func errTokenExpired(at time.Time) *Error {
	return &Error{Status: 401, Code: "token_expired", Message: "the token expired at " + at.UTC().Format(time.RFC3339),
		Hint: "Make a new one with `turnkey token`; -ttl sets how long it lives."}
}

func errTokenNotYet() *Error {
	return &Error{Status: 401, Code: "token_not_yet_valid", Message: "the token is not valid yet",
		Hint: "Compare the clock of the host that made the token with this server's."}
}

func errRight(right Rights) *Error {
	return &Error{Status: 403, Code: "right_denied", Message: fmt.Sprintf("the token does not give the right %q", right),
		Hint: fmt.Sprintf("Make a token whose perm lists it: `turnkey token -perm %s`, or POST /v1/token?perm=%s.", right, right)}
}

func errRoom(room string) *Error {
	return &Error{Status: 403, Code: "room_denied", Message: fmt.Sprintf("the token is good for room %q only", room),
		Hint: "Ask for a token for this room, or name the room of the token."}
}

func errTokenKey() *Error {
	e := errTokenInvalid("the server has no key of its alg and kid")
	e.Hint = "If your own backend signs tokens, put its public key into TURNKEY_JWT_KEYS under the token's kid, or sign with TURNKEY_API_KEY and HS256; else `turnkey token` makes one."
	return e
}

func errOrigin(origin string) *Error {
	hint := "On the server list the page's origin (scheme://host:port) in TURNKEY_ORIGINS, several separated by commas; " +
		"if the page is the server's own, let the proxy in front of it pass the header Host on as it came."
	message := "another site's page may not read this"
	if origin != "" {
		message = fmt.Sprintf("a page of %.200q may not read this", origin)
	}
	return &Error{Status: 403, Code: "origin_denied", Message: message, Hint: hint}
}

func errForwarded(sign string) *Error {
	return &Error{Status: 403, Code: "forwarded_denied",
		Message: "the request came through a proxy that is not trusted to name its client (" + sign + ")",
		Hint:    "List the proxy in TURNKEY_TRUSTED_PROXIES and let it send X-Forwarded-For. " + hintAuth}
}

func errGateway(client netip.Addr) *Error {
	return &Error{Status: 403, Code: "address_denied",
		Message: fmt.Sprintf("%v is this host's default gateway, behind which anybody may be", client),
		Hint:    "A container's port forward makes everybody look like the gateway: use the host's network. " + hintAuth}
}

func errNotLocal(client netip.Addr) *Error {
	who := "the client's address is unknown"
	if client.IsValid() {
		who = client.String() + " is not a loopback or private address"
	}
	return &Error{Status: 403, Code: "address_denied", Message: who, Hint: hintAuth}
}

func errHost(host string) *Error {
	return &Error{Status: 403, Code: "host_denied",
		Message: fmt.Sprintf("the server was asked for as %.200q, which is neither localhost nor a loopback or private address", host),
		Hint:    "Use the server's private address in the URL instead of a name. " + hintAuth}
}

func errRate(wait time.Duration) *Error {
	return &Error{Status: 429, Code: "rate_limited", Message: "too many requests from this address", RetryAfter: wait,
		Hint: "Wait as long as Retry-After says; ask once per session. Requests with the API key itself are not limited."}
}

func errQuery(code, message, hint string) *Error {
	return &Error{Status: 400, Code: code, Message: message, Hint: hint}
}
