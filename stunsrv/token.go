package stunsrv

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"
	"time"
)

// Lengths of the parts of a token, in bytes: when it ends, in seconds since
// 1970; a random id; an HMAC-SHA256 over both, cut short.
const (
	tokenExpiry = 8
	tokenID     = 8
	tokenMAC    = 16
	tokenSize   = tokenExpiry + tokenID + tokenMAC
)

// What a token may cost the server, in responses (see cost): one token, and all
// those that one source shows. A probe sends up to 150 requests for each
// address family within two seconds; several may be behind one address.
const (
	tokenRate, tokenBurst   = 10, 600
	sourceRate, sourceBurst = 50, 1500
)

// Tokens issues and checks the tokens that a NAT probe shows in NATTEST-TOKEN.
// They carry their own expiry, so that nothing is kept of them. A token says
// that somebody has lately asked this server over HTTP. It lets a server with
// one address answer from its other port, and it has a budget of its own, so
// that a probe in a hurry is not taken for a flood.
type Tokens struct {
	key      []byte
	life     time.Duration
	byToken  *Limiter
	bySource *Limiter
}

// NewTokens makes tokens that are good for life, and only for this value's own
// checks: the key is random.
func NewTokens(life time.Duration) *Tokens {
	key := make([]byte, sha256.Size)
	rand.Read(key) // never fails
	return &Tokens{key: key, life: life, byToken: newLimiter(tokenRate, tokenBurst, tokenSlots), bySource: newLimiter(sourceRate, sourceBurst, tokenSlots)}
}

// Issue returns a new token and when it ends.
func (t *Tokens) Issue() (token []byte, expires time.Time) {
	expires = time.Now().Add(t.life).Truncate(time.Second)
	token = binary.BigEndian.AppendUint64(make([]byte, 0, tokenSize), uint64(expires.Unix()))
	token = token[:tokenExpiry+tokenID]
	rand.Read(token[tokenExpiry:])
	mac := hmac.New(sha256.New, t.key)
	mac.Write(token)
	return append(token, mac.Sum(nil)[:tokenMAC]...), expires
}

// checker checks tokens for one goroutine, without allocating.
func (t *Tokens) checker() *checker { return &checker{mac: hmac.New(sha256.New, t.key)} }

type checker struct {
	mac hash.Hash
	sum [sha256.Size]byte
}

// valid reports whether token was issued under the checker's key and has not ended.
func (c *checker) valid(token []byte) bool {
	if len(token) != tokenSize {
		return false
	}
	c.mac.Reset()
	c.mac.Write(token[:tokenSize-tokenMAC])
	sum := c.mac.Sum(c.sum[:0])[:tokenMAC]
	return hmac.Equal(sum, token[tokenSize-tokenMAC:]) && uint64(time.Now().Unix()) < binary.BigEndian.Uint64(token)
}

// spend takes cost from the budgets of a valid token and of the source that
// shows it, and reports whether both had as much.
func (t *Tokens) spend(token []byte, from netip.Addr, cost int) bool {
	return t.byToken.take(token[tokenExpiry:tokenExpiry+tokenID], cost) && t.bySource.allow(from, cost)
}
