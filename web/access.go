package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// The values of [Access.Mode].
const (
	ModeLocal = "local" // clients on this host and in its private networks
	ModeOpen  = "open"  // everybody
	ModeKey   = "key"   // only who sends the API key or a token
)

// Access decides who may have credentials. It only looks at a request's
// facts, so one value may serve any number of requests at once; its fields
// must not change meanwhile, but for the keys (SetKey, SetKeys). The zero value serves
// local clients.
//
// A right bearer (the API key, or a [Token] signed with it or with one of the
// keys of SetKeys) is accepted in every mode. A wrong one is refused in every mode but open.
type Access struct {
	// Mode is ModeLocal (also when empty), ModeOpen or ModeKey; any other
	// value is treated as ModeKey.
	Mode string
	// Key is the API key and an HS256 key of tokens. Empty: there is none.
	Key string
	// Origins are the Origin values (scheme://host[:port]) whose pages may
	// call beside those of the same host; "*" stands for every page.
	Origins []string
	// TrustedProxies are the peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Gateways are this host's default gateways. They never count as local:
	// behind a container's port proxy the whole world has that address.
	Gateways []netip.Addr

	changed atomic.Pointer[string] // the key that stands for Key since SetKey
	keys    atomic.Pointer[Keys]
	wrong   limiter // of wrong bearers that were to join
}

// SetKey replaces Key, at any time. Tokens that were signed with the old one
// are not accepted any more.
func (a *Access) SetKey(key string) { a.changed.Store(&key) }

// SetKeys replaces the keys that verify tokens beside Key, at any time; nil: none.
func (a *Access) SetKeys(k *Keys) { a.keys.Store(k) }

func (a *Access) key() string {
	if k := a.changed.Load(); k != nil {
		return *k
	}
	return a.Key
}

// Grant says what a request was allowed, and to whom.
type Grant struct {
	Client  netip.Addr // the client's address; invalid when a proxy garbled it
	Room    string     // the only room a token is for; empty: every room
	Subject string     // the token's subject; empty: not named
	Key     bool       // it came with the API key itself
	Token   bool       // it came with a token
	Rights  Rights     // what it may do

	RelayTTL time.Duration // the most that TURN credentials may last; 0: no more bound than the server's
	Quota    Quota         // of its TURN credentials; zero: no more bound than the server's
}

// Check applies the rules to a request with its Authorization header
// (RFC 6750, section 2.1). The error's status is 401 where a key would help
// and none or a wrong one was sent, 403 where the request is refused.
func (a *Access) Check(r *http.Request) (Grant, *Error) {
	return a.CheckBearer(r, bearer(r.Header))
}

// CheckBearer is [Access.Check] for a bearer that came another way, as
// browsers cannot send Authorization with a WebSocket; "" stands for none.
func (a *Access) CheckBearer(r *http.Request, bearer string) (Grant, *Error) {
	g := Grant{Client: a.Client(r), Rights: callerRights}
	if !a.OriginAllowed(r) {
		return Grant{}, errOrigin(r.Header.Get("Origin"))
	}
	if bearer != "" {
		err := a.accept(&g, bearer)
		if err == nil || a.Mode != ModeOpen {
			return granted(g, err)
		}
	}
	switch a.Mode {
	case ModeOpen:
		return g, nil
	case ModeLocal, "":
		return granted(g, a.local(r, g.Client))
	}
	return Grant{}, errNoKey()
}

// Join is [Access.CheckBearer] for somebody who wants to join the room. Whole
// schools join from one address, so joins have no limit there, but wrong bearers
// have that of requests: a network that is beyond it gets in with the API key alone.
func (a *Access) Join(r *http.Request, room, bearer string) (Grant, *Error) {
	client := a.Client(r)
	if wait := a.wrong.spent(client, time.Now()); wait > 0 && bearer != "" && !a.isKey(bearer) {
		return Grant{}, errRate(wait)
	}
	g, err := a.join(r, room, bearer)
	if err != nil && err.Code == codeInvalid {
		a.wrong.wait(client, time.Now())
	}
	return g, err
}

func (a *Access) join(r *http.Request, room, bearer string) (Grant, *Error) {
	g, err := a.CheckBearer(r, bearer)
	if err == nil {
		err = g.May(RightJoin, room)
	}
	return granted(g, err)
}

// May tells why the grant does not reach for a right in a room ("" = no matter
// which), nil if it does.
func (g Grant) May(right Rights, room string) *Error {
	switch {
	case !g.Rights.Has(right):
		return errRight(right)
	case g.Room != "" && room != "" && g.Room != room:
		return errRoom(g.Room)
	}
	return nil
}

// granted keeps a refused request from carrying a half-filled grant.
func granted(g Grant, err *Error) (Grant, *Error) {
	if err != nil {
		return Grant{}, err
	}
	return g, nil
}

// isKey tells whether a bearer is the API key. Both sides of the comparison are
// hashed first, so that its time tells neither content nor length of the key.
func (a *Access) isKey(bearer string) bool {
	key := a.key()
	want, got := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(bearer))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && key != ""
}

// accept fills g from a right bearer.
func (a *Access) accept(g *Grant, bearer string) *Error {
	key, keys := a.key(), a.keys.Load()
	if key == "" && keys == nil {
		return errTokenInvalid("this server has no API key")
	}
	if a.isKey(bearer) {
		g.Key, g.Rights = true, allRights
		return nil
	}
	claims, err := parseToken(key, keys, bearer)
	if err != nil {
		return err
	}
	return claims.grant(g, bearer)
}

// bearer returns the credentials of an Authorization header with the Bearer
// scheme, or "". Several headers are one garbled value, which is never right.
func bearer(h http.Header) string {
	scheme, token, _ := strings.Cut(strings.Join(h["Authorization"], ","), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// OriginAllowed tells whether the page that sent r, if a page did, may read
// the answer: no Origin header, one of the same host, or one listed in
// Origins. A request that carries no Origin but that the browser marks as
// another site's (Sec-Fetch-Site) is such a page's too.
func (a *Access) OriginAllowed(r *http.Request) bool {
	origins := r.Header["Origin"]
	for _, allowed := range a.Origins {
		if allowed == "*" || len(origins) == 1 && strings.EqualFold(strings.TrimSuffix(allowed, "/"), origins[0]) {
			return true
		}
	}
	switch len(origins) {
	case 0:
		site := r.Header.Get("Sec-Fetch-Site")
		return site == "" || site == "same-origin" || site == "none"
	case 1:
		return sameHost(origins[0], r)
	}
	return false
}

// sameHost compares an Origin (RFC 6454, section 7) with the Host header. The
// scheme counts only where this server ends TLS itself: behind a proxy that
// does, it cannot know the scheme the browser used.
func sameHost(origin string, r *http.Request) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return false
	}
	port, ok := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	if !ok || r.TLS != nil && u.Scheme != "https" {
		return false
	}
	return strings.EqualFold(strings.TrimSuffix(u.Host, port), strings.TrimSuffix(r.Host, port))
}
