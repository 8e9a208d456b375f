// Package cred issues and reads the time-limited credentials that TURN servers
// and their clients share ("TURN REST API", draft-uberti-behave-turn-rest):
//
//	username   <unix time of expiry>:<label>
//	password   base64(HMAC-SHA1(secret, username))
//
// A [Quota] stands behind the label, so that every server that knows the secret
// holds the credential to it, and takes nothing but the username to do so:
//
//	1700000000:alice=quota-2-2000000-team
//
// Whoever knows the secret can issue a credential, and a server that knows it
// can check one without having seen it before. Several secrets may be in force
// at once, so that one can be replaced without ending a call: the first signs,
// all are accepted.
package cred

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxLabel is the longest label, in bytes.
const MaxLabel = 64

// MaxUsername is the longest username that Parse reads, in bytes.
const MaxUsername = 256

// maxExpiryDigits bounds the number in a username: 12 digits reach the year 33658.
const maxExpiryDigits = 12

var (
	// ErrLabel is returned for a label with other characters than
	// A-Z a-z 0-9 . _ ~ @ - or more than MaxLabel of them.
	ErrLabel = errors.New("a label has at most 64 of the characters A-Z a-z 0-9 . _ ~ @ -")
	// ErrUsername is returned for a username that is not of the form <unix time> or
	// <unix time>:<name>.
	ErrUsername = errors.New("not of the form <unix time of expiry>:<name>")
	// ErrQuota is returned for a quota that is not of the form
	// =quota-<allocations>-<bandwidth>-<of>, or out of bounds.
	ErrQuota = errors.New("not of the form <name>=quota-<allocations>-<bits a second>-<of>, with a number above 0")
	// ErrNoSecret is returned by NewSecrets when none is given.
	ErrNoSecret = errors.New("no secret")
)

// Secrets issues credentials and finds the passwords of usernames.
// It is immutable and safe for concurrent use.
type Secrets struct {
	keys [][]byte
}

// NewSecrets makes Secrets of one or more shared secrets. The first one signs.
// An empty one among them is refused: it would sign for everybody.
func NewSecrets(secrets ...string) (*Secrets, error) {
	s := &Secrets{}
	for _, secret := range secrets {
		if secret == "" {
			return nil, ErrNoSecret
		}
		s.keys = append(s.keys, []byte(secret))
	}
	if len(s.keys) == 0 {
		return nil, ErrNoSecret
	}
	return s, nil
}

// Issue returns a username and password that are good until expires, cut to
// whole seconds. The label may be empty; it comes back in the log line of every
// session that uses the credential.
func (s *Secrets) Issue(label string, expires time.Time) (username, password string, err error) {
	return s.IssueWithin(Quota{}, label, expires)
}

// IssueWithin is Issue for a credential that is held to a quota.
func (s *Secrets) IssueWithin(quota Quota, label string, expires time.Time) (username, password string, err error) {
	switch {
	case !ValidLabel(label):
		return "", "", fmt.Errorf("issue credential for label %.80q: %w", label, ErrLabel)
	case quota != Quota{} && !quota.valid():
		return "", "", fmt.Errorf("issue credential for quota %+v: %w", quota, ErrQuota)
	}
	username = strconv.FormatInt(expires.Unix(), 10) + ":" + label + quota.suffix()
	return username, passwordUnder(s.keys[0], username), nil
}

// Passwords returns what the password of username is under each secret, the
// signing one first. It says nothing about whether the username has expired.
func (s *Secrets) Passwords(username string) []string {
	passwords := make([]string, len(s.keys))
	for i, key := range s.keys {
		passwords[i] = passwordUnder(key, username)
	}
	return passwords
}

func passwordUnder(key []byte, username string) string {
	mac := hmac.New(sha1.New, key)
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Username is what a username says.
type Username struct {
	Expires time.Time
	Name    string // the label, or what another issuer has put there
	Quota   Quota
}

// Parse reads a username. Other issuers put more into the name than a label may
// have (Matrix a user id with colons, some nothing at all), so any printable text
// is read, unless it has the marker of a quota: nobody gets around one by a slip of
// the pen. It returns ErrUsername, or ErrQuota, for everything else.
func Parse(username string) (u Username, err error) {
	digits, name, _ := strings.Cut(username, ":")
	if digits == "" || len(digits) > maxExpiryDigits || len(username) > MaxUsername || !printable(name) {
		return Username{}, ErrUsername
	}
	var seconds int64
	for i := 0; i < len(digits); i++ {
		if digits[i] < '0' || digits[i] > '9' {
			return Username{}, ErrUsername
		}
		seconds = seconds*10 + int64(digits[i]-'0')
	}
	u = Username{Expires: time.Unix(seconds, 0), Name: name}
	if label, quota, found := strings.Cut(name, quotaMarker); found {
		u.Name = label
		u.Quota, err = parseQuota(quota)
	}
	if err != nil {
		return Username{}, err
	}
	return u, nil
}

func printable(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// ValidLabel reports whether label can be part of a username:
// [A-Za-z0-9._~@-]{0,64}.
func ValidLabel(label string) bool {
	if len(label) > MaxLabel {
		return false
	}
	for i := 0; i < len(label); i++ {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '~', c == '@', c == '-':
		default:
			return false
		}
	}
	return true
}
