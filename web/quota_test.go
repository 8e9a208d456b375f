package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func grantOf(t *testing.T, token string) Grant {
	t.Helper()
	return expect(t, testAccess("key"), request(remote, "turn.example", "Authorization: Bearer "+token), "")
}

func TestQuotaOfAToken(t *testing.T) {
	exp := time.Now().Add(time.Hour).Unix()
	for _, tt := range []struct {
		turn any
		code string
		want Quota
	}{
		{map[string]any{"allocations": 2, "bandwidth": 2_000_000}, "", Quota{"bob", 2, 2_000_000}},
		{map[string]any{"allocations": 1}, "", Quota{"bob", 1, 0}},
		{map[string]any{"bandwidth": 10_000, "ttl": 60}, "", Quota{"bob", 0, 10_000}},
		{map[string]any{"ttl": 60}, "", Quota{}},
		{nil, "", Quota{}},
		{map[string]any{"allocations": 0}, "token_invalid", Quota{}},
		{map[string]any{"allocations": -1}, "token_invalid", Quota{}},
		{map[string]any{"allocations": 1_000_001}, "token_invalid", Quota{}},
		{map[string]any{"allocations": 1.5}, "token_invalid", Quota{}},
		{map[string]any{"allocations": "2"}, "token_invalid", Quota{}},
		{map[string]any{"allocations": uint64(1) << 63}, "token_invalid", Quota{}},
		{map[string]any{"bandwidth": 2}, "token_invalid", Quota{}},
		{map[string]any{"bandwidth": 1_000_000_000_001}, "token_invalid", Quota{}},
	} {
		token := sign(t, jwt.SigningMethodHS256, []byte(testKey), jwt.MapClaims{"exp": exp, "sub": "bob", "turn": tt.turn})
		g, err := testAccess("key").CheckBearer(request(remote, "turn.example"), token)
		if code(err) != tt.code || g.Quota != tt.want {
			t.Errorf("%v: got %q %+v, want %q %+v", tt.turn, code(err), g.Quota, tt.code, tt.want)
		}
	}
}

// Credentials count together for whom the quota is: nobody has more by making
// another of one token, by writing a token differently, or by asking for it again.
func TestWhomAQuotaIsFor(t *testing.T) {
	now := time.Now()
	made := func(token Token, at time.Time) string {
		t.Helper()
		token.TTL = time.Hour
		s, err := token.Sign(testKey, at)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	two := Token{Allocations: 2, Bandwidth: 2_000_000}
	token := made(two, now)
	plain := grantOf(t, token).Quota
	if plain.Allocations != 2 || plain.Bandwidth != 2_000_000 || len(plain.Of) != 17 || plain.Of[0] != '~' || !isName(plain.Of, "~") {
		t.Errorf("got %+v, want what the token says, for a name of its own", plain)
	}
	last := token[len(token)-1]
	written := 0
	for c := range byte(128) { // the last character of 32 bytes has two bits that say nothing
		if other := token[:len(token)-1] + string(rune(c)); c != last && code(second(testAccess("key").CheckBearer(request(remote, "turn.example"), other))) == "" {
			written++
			if got := grantOf(t, other).Quota; got != plain {
				t.Errorf("written differently: got %+v, want %+v", got, plain)
			}
		}
	}
	if written == 0 {
		t.Error("the token cannot be written differently: this test tests nothing")
	}
	if other := grantOf(t, made(two, now.Add(-time.Second))).Quota; other.Of == plain.Of {
		t.Errorf("another token without a subject is for %q, too", other.Of)
	}
	two.Subject = "bob"
	if a, b := grantOf(t, made(two, now)).Quota, grantOf(t, made(two, now.Add(-time.Second))).Quota; a.Of != "bob" || a != b {
		t.Errorf("got %+v and %+v, want both for bob", a, b)
	}
	foreign := func(sub string) Quota { // of an issuer whose subjects are no names
		return grantOf(t, sign(t, jwt.SigningMethodHS256, []byte(testKey), jwt.MapClaims{
			"exp": now.Add(time.Hour).Unix(), "sub": sub, "jti": time.Now().String(), "turn": map[string]int{"allocations": 1}})).Quota
	}
	if a, b, c := foreign("auth0|bob"), foreign("auth0|bob"), foreign("auth0|eve"); a != b || a == c || !isName(a.Of, "~") {
		t.Errorf("got %+v, %+v and %+v", a, b, c)
	}
}

func second[A, B any](_ A, b B) B { return b }

func TestQuotaReachesTheCredential(t *testing.T) {
	var got Quota
	h := New(Config{Access: testAccess("key"), ICE: func(label string, ttl time.Duration, q Quota) (Session, error) {
		got = q
		return issue(label, ttl, q)
	}})
	made := do(t, h, to("POST", "/v1/token?subject=bob&allocations=2&bandwidth=2000000", "Authorization: Bearer "+testKey))
	token, _ := made.body["token"].(string)
	if do(t, h, to("GET", "/v1/ice", "Authorization: Bearer "+token)); got != (Quota{"bob", 2, 2_000_000}) {
		t.Errorf("got %+v from %v", got, made.body)
	}
	if do(t, h, to("GET", "/v1/ice", "Authorization: Bearer "+testKey)); got != (Quota{}) {
		t.Errorf("got %+v for the key, want none", got)
	}
	for _, bad := range []string{"allocations=0", "allocations=", "allocations=1000001", "allocations=x", "bandwidth=2", "bandwidth=1e6", "bandwidth=9223372036854775808"} {
		do(t, h, to("POST", "/v1/token?"+bad, "Authorization: Bearer "+testKey)).wantError(t, http.StatusBadRequest, "quota_invalid")
	}
	for _, bad := range []Token{{Allocations: -1}, {Allocations: maxAllocations + 1}, {Bandwidth: 1}, {Bandwidth: maxBandwidth + 1}} {
		bad.TTL = time.Hour
		if _, err := bad.Sign(testKey, time.Now()); err == nil || !strings.Contains(err.Error(), "quota") {
			t.Errorf("%+v: got %v, want an error about its quota", bad, err)
		}
	}
}
