package web

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxTokenLen is far above what is needed, and keeps a bearer of many kilobytes
// from being decoded.
const maxTokenLen = 4096

// Token is what a JSON Web Token (RFC 7519) of this server says.
type Token struct {
	Room     string        // the only room it is for, [A-Za-z0-9._~-]{1,64}; "" = every room
	Subject  string        // whom it is for, [A-Za-z0-9._~@-]{1,64}; "" = not named
	Rights   Rights        // what its holder may do; 0 = join and relay
	TTL      time.Duration // how long it is good, a second or more
	RelayTTL time.Duration // how long its TURN credentials last; 0 = as long as the server's, which is the most

	// TURN allocations at once, and bits a second of them all together in each
	// direction; 0 = as the server lets a user have.
	Allocations int
	Bandwidth   int64
}

// claims are a token's content beside the registered ones. A token without perm
// has the rights of a caller.
type claims struct {
	Room string      `json:"room,omitempty"`
	Perm *[]string   `json:"perm,omitempty"`
	Turn *turnClaims `json:"turn,omitempty"`
	jwt.RegisteredClaims
}

// Sign returns the token, signed by HS256 with key, from now until now+TTL. It
// fails on an empty key, and on what a server would refuse.
func (t Token) Sign(key string, now time.Time) (string, error) {
	switch {
	case key == "":
		return "", errors.New("no key to sign the token with: set TURNKEY_API_KEY")
	case t.TTL < time.Second:
		return "", fmt.Errorf("token lifetime %v: must be a second at least", t.TTL)
	case !isName(t.Room, "._~-"):
		return "", fmt.Errorf("room %.80q: use 1 to 64 of A-Z a-z 0-9 . _ ~ -, or leave it empty for every room", t.Room)
	case !isName(t.Subject, "._~@-"):
		return "", fmt.Errorf("subject %.80q: use at most 64 of A-Z a-z 0-9 . _ ~ @ -", t.Subject)
	case t.RelayTTL != 0 && t.RelayTTL < minTTL:
		return "", fmt.Errorf("lifetime of TURN credentials %v: must be %v at least", t.RelayTTL, minTTL)
	case t.Allocations != 0 && !isAllocations(t.Allocations):
		return "", fmt.Errorf("quota of %d allocations: use 1 to %d", t.Allocations, maxAllocations)
	case t.Bandwidth != 0 && !isBandwidth(t.Bandwidth):
		return "", fmt.Errorf("quota of %d bits a second: use %d to %d", t.Bandwidth, minBandwidth, maxBandwidth)
	}
	c := claims{Room: t.Room, RegisteredClaims: jwt.RegisteredClaims{
		Subject:   t.Subject,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(t.TTL)),
	}}
	if t.Rights != 0 && t.Rights != callerRights {
		names := t.Rights.Names()
		c.Perm = &names
	}
	if t.RelayTTL != 0 || t.Allocations != 0 || t.Bandwidth != 0 {
		c.Turn = &turnClaims{TTL: int64(t.RelayTTL / time.Second)}
	}
	if t.Allocations != 0 {
		c.Turn.Allocations = &t.Allocations
	}
	if t.Bandwidth != 0 {
		c.Turn.Bandwidth = &t.Bandwidth
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(key))
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}

// errNoSuchKey is why a token cannot be verified.
var errNoSuchKey = errors.New("no key for it")

// parseToken verifies algorithm, signature and times, with the API key and with
// keys. What the token says is looked at only after its signature was found right.
// The algorithm picks the keys, so that no public key can stand in for a shared one.
func parseToken(key string, keys *Keys, token string) (claims, *Error) {
	var c claims
	if len(token) > maxTokenLen {
		return c, errTokenInvalid(fmt.Sprintf("it is longer than %d bytes", maxTokenLen))
	}
	_, err := jwt.ParseWithClaims(token, &c,
		func(t *jwt.Token) (any, error) {
			kid, _ := t.Header["kid"].(string)
			set := keys.of(t.Method.Alg(), kid)
			if t.Method == jwt.SigningMethodHS256 && key != "" {
				set = append(set, []byte(key))
			}
			if _, critical := t.Header["crit"]; critical || len(set) == 0 {
				return nil, errNoSuchKey
			}
			return jwt.VerificationKeySet{Keys: set}, nil
		},
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg(), jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithExpirationRequired())
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return c, errTokenExpired(c.ExpiresAt.Time)
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return c, errTokenNotYet()
	case errors.Is(err, jwt.ErrTokenMalformed):
		return c, errTokenInvalid("it is neither the API key nor a token that can be read")
	case errors.Is(err, errNoSuchKey):
		return c, errTokenKey()
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return c, errTokenInvalid("it never expires; tokens need exp")
	case err != nil:
		return c, errTokenInvalid("it is neither the API key nor signed with a key of this server, by HS256 or EdDSA")
	}
	return c, nil
}

// grant fills g with what the token says, whose claims c are.
func (c claims) grant(g *Grant, token string) *Error {
	g.Rights = callerRights
	if c.Perm != nil {
		rights, err := rightsOf(*c.Perm)
		if err != nil {
			return errTokenInvalid("its perm is wrong: " + err.Error())
		}
		g.Rights = rights
	}
	if c.Turn != nil {
		if err := c.Turn.grant(g); err != nil {
			return err
		}
	}
	if g.Quota != (Quota{}) {
		g.Quota.Of = c.holder(token)
	}
	if !isName(c.Room, "._~-") {
		return errTokenInvalid("its room is no room name")
	}
	g.Token, g.Room, g.Subject = true, c.Room, c.Subject
	return nil
}

// isName tells whether s has at most 64 bytes, all of them letters, digits or
// one of extra.
func isName(s, extra string) bool {
	for _, c := range []byte(s) {
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && !strings.Contains(extra, string(rune(c))) {
			return false
		}
	}
	return len(s) <= 64
}
