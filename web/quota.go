package web

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"time"
)

// Bounds of a quota: of allocations, and of bits a second. Less than the least is
// most likely a number of megabits.
const (
	maxAllocations = 1_000_000
	minBandwidth   = 10_000
	maxBandwidth   = 1_000_000_000_000
)

// Quota bounds the TURN allocations of a token. Together with the server's own
// limits of a user the lower one counts.
type Quota struct {
	Of          string `json:"of"`                    // whose they are: credentials with the same one count together
	Allocations int    `json:"allocations,omitempty"` // at once; 0 = no quota
	Bandwidth   int64  `json:"bandwidth,omitempty"`   // bits a second in each direction, of all together; 0 = no quota
}

// turnClaims are the claim turn of a token.
type turnClaims struct {
	TTL         int64  `json:"ttl,omitempty"` // seconds
	Allocations *int   `json:"allocations,omitempty"`
	Bandwidth   *int64 `json:"bandwidth,omitempty"` // bits a second
}

// grant fills g with what is said of TURN. A quota of 0 is refused: it would mean
// nothing to one reader and no bound to another.
func (c turnClaims) grant(g *Grant) *Error {
	switch {
	case c.TTL < 0 || c.TTL > int64(maxTokenTTL/time.Second):
		return errTokenInvalid("its turn.ttl is no number of seconds up to 30 days")
	case c.Allocations != nil && !isAllocations(*c.Allocations):
		return errTokenInvalid(fmt.Sprintf("its turn.allocations is no number from 1 to %d; who may have none gets no right to relay", maxAllocations))
	case c.Bandwidth != nil && !isBandwidth(*c.Bandwidth):
		return errTokenInvalid(fmt.Sprintf("its turn.bandwidth is no number of bits a second from %d to %d", minBandwidth, maxBandwidth))
	}
	g.RelayTTL = time.Duration(c.TTL) * time.Second
	if c.Allocations != nil {
		g.Quota.Allocations = *c.Allocations
	}
	if c.Bandwidth != nil {
		g.Quota.Bandwidth = *c.Bandwidth
	}
	return nil
}

func isAllocations(n int) bool    { return 1 <= n && n <= maxAllocations }
func isBandwidth(bits int64) bool { return minBandwidth <= bits && bits <= maxBandwidth }

// holder is whom a token's quota is counted for: its subject, so that nobody gets
// more by asking for a token again, or the token itself if it has none. A subject
// that is no name, and a token, are hashed; of a token only what was signed, as the
// signature can be written in several ways.
func (c claims) holder(token string) string {
	if c.Subject != "" && isName(c.Subject, "._~@-") {
		return c.Subject
	}
	sum := sha256.Sum256([]byte(cmp.Or(c.Subject, token[:strings.LastIndexByte(token, '.')])))
	return "~" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}
