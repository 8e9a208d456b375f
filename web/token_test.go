package web

import (
	"crypto/rand"
	"crypto/rsa"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func sign(t *testing.T, method jwt.SigningMethod, key any, c jwt.Claims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(method, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBearer(t *testing.T) {
	now := time.Now()
	soon := jwt.MapClaims{"room": "r1", "sub": "bob", "exp": now.Add(time.Hour).Unix()}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good, err := Token{Room: "r1", Subject: "bob", TTL: time.Hour}.Sign(testKey, now)
	if err != nil {
		t.Fatal(err)
	}
	hs := func(key string, c jwt.MapClaims) string { return sign(t, jwt.SigningMethodHS256, []byte(key), c) }
	none := sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, soon)
	tests := []struct {
		name   string
		header string
		want   string // code in mode key; "" = granted
	}{
		{"the key", "Bearer " + testKey, ""},
		{"scheme in lower case", "bearer " + testKey, ""},
		{"more than one space", "Bearer   " + testKey, ""},
		{"a token", "Bearer " + good, ""},
		{"a token of another program", "Bearer " + hs(testKey, soon), ""},
		{"missing", "", "auth_required"},
		{"another scheme", "Basic " + testKey, "auth_required"},
		{"the bare key", testKey, "auth_required"},
		{"scheme without a space", "Bearer" + testKey, "auth_required"},
		{"empty bearer", "Bearer ", "auth_required"},
		{"half the key", "Bearer " + testKey[:8], "token_invalid"},
		{"the key and more", "Bearer " + testKey + "0", "token_invalid"},
		{"two words", "Bearer " + testKey + " x", "token_invalid"},
		{"dots", "Bearer ..", "token_invalid"},
		{"binary", "Bearer \xff\x00\x80.\xff.\xfe", "token_invalid"},
		{"too long", "Bearer " + hs(testKey, jwt.MapClaims{"x": strings.Repeat("a", maxTokenLen), "exp": now.Add(time.Hour).Unix()}), "token_invalid"},
		{"signed with another key", "Bearer " + hs("another key here", soon), "token_invalid"},
		{"signed with no key", "Bearer " + hs("", soon), "token_invalid"},
		{"algorithm none", "Bearer " + none, "token_invalid"},
		{"none with a signature", "Bearer " + none + "AAAA", "token_invalid"},
		{"HS512 with the right key", "Bearer " + sign(t, jwt.SigningMethodHS512, []byte(testKey), soon), "token_invalid"},
		{"RS256", "Bearer " + sign(t, jwt.SigningMethodRS256, rsaKey, soon), "token_invalid"},
		{"without expiry", "Bearer " + hs(testKey, jwt.MapClaims{"room": "r1"}), "token_invalid"},
		{"expired", "Bearer " + hs(testKey, jwt.MapClaims{"exp": now.Add(-time.Second).Unix()}), "token_expired"},
		{"expired and of another key", "Bearer " + hs("another key here", jwt.MapClaims{"exp": 1}), "token_invalid"},
		{"for later", "Bearer " + hs(testKey, jwt.MapClaims{"exp": now.Add(2 * time.Hour).Unix(), "nbf": now.Add(time.Hour).Unix()}), "token_not_yet_valid"},
		{"for a room that cannot be", "Bearer " + hs(testKey, jwt.MapClaims{"room": "a b", "exp": now.Add(time.Hour).Unix()}), "token_invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request(remote, "turn.example")
			if tt.header != "" {
				r.Header.Set("Authorization", tt.header)
			}
			g := expect(t, testAccess("key"), r, tt.want)
			if want := tt.want == ""; (g.Key || g.Token) != want {
				t.Errorf("got %+v, want key or token: %v", g, want)
			}
			expect(t, testAccess("no such mode"), r, tt.want)
			expect(t, testAccess("open"), r, "")
			if tt.want == "auth_required" {
				expect(t, testAccess("local"), r, "address_denied")
			} else {
				expect(t, testAccess("local"), r, tt.want)
			}
			keyless := testAccess("key")
			keyless.Key = ""
			if _, err := keyless.Check(r); err == nil || err.Status != 401 {
				t.Errorf("without a key: got %v, want 401", err)
			}
		})
	}
}

func TestWrongBearerIsRefusedEvenFromLoopback(t *testing.T) {
	expect(t, testAccess("local"), request(loop, self, "Authorization: Bearer wrong"), "token_invalid")
	expect(t, testAccess("local"), request(loop, self, "Authorization: Basic d3Jvbmc="), "")
}

func TestTwoAuthorizationHeadersAreNoBearer(t *testing.T) {
	r := request(loop, self, "Authorization: Bearer "+testKey, "Authorization: Bearer "+testKey)
	expect(t, testAccess("key"), r, "token_invalid")
}

func TestGrantTellsWhoItIsFor(t *testing.T) {
	token, err := Token{Room: "r1", Subject: "bob", TTL: time.Hour}.Sign(testKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	got := expect(t, testAccess("key"), request(remote, "turn.example", "Authorization: Bearer "+token), "")
	want := Grant{Client: netip.MustParseAddr("203.0.113.9"), Room: "r1", Subject: "bob", Token: true, Rights: callerRights}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if g, denied := testAccess("key").CheckBearer(request(remote, "turn.example"), token); denied != nil || g != want {
		t.Errorf("by another way: got %+v, %v, want %+v", g, denied, want)
	}
}

func TestNewTokenRefusesWhatNoServerTakes(t *testing.T) {
	tests := []struct {
		name, key, room, subject string
		ttl                      time.Duration
		want                     string
	}{
		{"no key", "", "r", "", time.Hour, "TURNKEY_API_KEY"},
		{"no lifetime", testKey, "r", "", 0, "lifetime"},
		{"room with a space", testKey, "a b", "", time.Hour, "room"},
		{"room of 65", testKey, strings.Repeat("a", 65), "", time.Hour, "room"},
		{"subject with a colon", testKey, "", "a:b", time.Hour, "subject"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := (Token{Room: tt.room, Subject: tt.subject, TTL: tt.ttl}).Sign(tt.key, time.Now()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %q", err, tt.want)
			}
		})
	}
}
