package web

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxTokenLen is far above what NewToken makes, and keeps a bearer of many
// kilobytes from being decoded.
const maxTokenLen = 2048

// claims are what a token says: the room it is for ("" = every room), for
// whom (sub), and until when (exp).
type claims struct {
	Room string `json:"room,omitempty"`
	jwt.RegisteredClaims
}

// NewToken returns a JSON Web Token (RFC 7519) signed by HS256 with key: it
// admits subject ("" = not named) to room ("" = every room) from now until
// now+ttl. It fails on an empty key, a ttl under a second, or a room or
// subject that a server would refuse: a room is [A-Za-z0-9._~-]{1,64}, a
// subject [A-Za-z0-9._~@-]{1,64}.
func NewToken(key, room, subject string, ttl time.Duration, now time.Time) (string, error) {
	switch {
	case key == "":
		return "", errors.New("no key to sign the token with: set TURNKEY_API_KEY")
	case ttl < time.Second:
		return "", fmt.Errorf("token lifetime %v: must be a second at least", ttl)
	case !isName(room, "._~-"):
		return "", fmt.Errorf("room %.80q: use 1 to 64 of A-Z a-z 0-9 . _ ~ -, or leave it empty for every room", room)
	case !isName(subject, "._~@-"):
		return "", fmt.Errorf("subject %.80q: use at most 64 of A-Z a-z 0-9 . _ ~ @ -", subject)
	}
	c := claims{Room: room, RegisteredClaims: jwt.RegisteredClaims{
		Subject:   subject,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
	}}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(key))
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}

// parseToken verifies signature, algorithm and times. What the token says is
// looked at only after its signature was found right.
func parseToken(key, token string) (claims, *Error) {
	var c claims
	if len(token) > maxTokenLen {
		return c, errTokenInvalid("it is too long")
	}
	_, err := jwt.ParseWithClaims(token, &c,
		func(*jwt.Token) (any, error) { return []byte(key), nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Name}),
		jwt.WithExpirationRequired())
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return c, errTokenExpired(c.ExpiresAt.Time)
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return c, errTokenNotYet()
	case err != nil:
		return c, errTokenInvalid("it is neither the API key nor signed with it by HS256")
	case !isName(c.Room, "._~-"):
		return c, errTokenInvalid("its room is no room name")
	}
	return c, nil
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
