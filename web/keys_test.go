package web

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// edKey is a key pair of a backend, the same in every test.
func edKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(seed), ed25519.SeedSize)))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func okp(kid string, k ed25519.PrivateKey) string {
	return `{"kty":"OKP","crv":"Ed25519","kid":"` + kid + `","x":"` + b64(k.Public().(ed25519.PublicKey)) + `"}`
}

const shared = "0123456789abcdef0123456789abcdef"

func oct(kid string) string {
	return `{"kty":"oct","alg":"HS256","kid":"` + kid + `","k":"` + b64([]byte(shared)) + `"}`
}

// keySet parses keys that are right.
func keySet(t testing.TB, keys ...string) *Keys {
	t.Helper()
	k, err := ParseKeys([]byte(`{"keys":[` + strings.Join(keys, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// signed is a token with a header of one's own choice.
func signed(t *testing.T, method jwt.SigningMethod, key any, header map[string]any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	for name, v := range header {
		token.Header[name] = v
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeysOfOthers(t *testing.T) {
	a, b, stranger := edKey('a'), edKey('b'), edKey('c')
	keys := keySet(t, okp("a", a), okp("b", b), oct("s"), `{"kty":"RSA","n":"AQAB","e":"AQAB"}`)
	soon := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}
	kid := func(id any) map[string]any { return map[string]any{"kid": id} }
	ed, hs := jwt.SigningMethodEdDSA, jwt.SigningMethodHS256
	for _, tt := range []struct {
		name, token, code, says string
	}{
		{"EdDSA by name", signed(t, ed, b, kid("b"), soon), "", ""},
		{"EdDSA without a name", signed(t, ed, b, nil, soon), "", ""},
		{"HS256 by name", signed(t, hs, []byte(shared), kid("s"), soon), "", ""},
		{"the API key, whatever the name", signed(t, hs, []byte(testKey), kid("other"), soon), "", ""},
		{"by another's name", signed(t, ed, b, kid("a"), soon), "token_invalid", "signed with a key of this server"},
		{"unknown name", signed(t, ed, a, kid("z"), soon), "token_invalid", "no key"},
		{"unknown key", signed(t, ed, stranger, nil, soon), "token_invalid", "signed with a key of this server"},
		{"a name that is a number", signed(t, ed, stranger, kid(1), soon), "token_invalid", "signed with"},
		{"HS256 by a public key", signed(t, hs, []byte(a.Public().(ed25519.PublicKey)), kid("a"), soon), "token_invalid", "signed with"},
		{"HS512 by a right key", signed(t, jwt.SigningMethodHS512, []byte(shared), kid("s"), soon), "token_invalid", "signed with"},
		{"none", signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid("a"), soon), "token_invalid", "signed with"},
		{"critical extension", signed(t, ed, a, map[string]any{"crit": []string{"b64"}}, soon), "token_invalid", "no key"},
		{"expired", signed(t, ed, a, nil, jwt.MapClaims{"exp": time.Now().Add(-time.Second).Unix()}), "token_expired", "expired at"},
		{"for later", signed(t, ed, a, nil, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "nbf": time.Now().Add(time.Minute).Unix()}), "token_not_yet_valid", ""},
		{"never expires", signed(t, ed, a, nil, jwt.MapClaims{"room": "r"}), "token_invalid", "exp"},
		{"not a token", "a.b.c", "token_invalid", "can be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			access := testAccess("key")
			access.SetKeys(keys)
			g, err := access.CheckBearer(request(remote, "turn.example"), tt.token)
			if code(err) != tt.code || tt.code == "" && g.Rights != callerRights {
				t.Fatalf("got %+v, %v, want %q", g, err, tt.code)
			}
			if err != nil && (err.Status != 401 || err.Hint == "" || !strings.Contains(err.Message, tt.says)) {
				t.Errorf("got %+v, want 401, a hint, and %q in the message", err, tt.says)
			}
			if tt.says == "no key" && !strings.Contains(err.Hint, "TURNKEY_JWT_KEYS") {
				t.Errorf("got hint %q, want the setting of the keys", err.Hint)
			}
			access.SetKeys(nil)
			if _, err := access.CheckBearer(request(remote, "turn.example"), tt.token); tt.code == "" && tt.name[:3] != "the" && err == nil {
				t.Error("without the keys: got no error")
			}
		})
	}
}

func TestKeySetsThatCannotBeUsed(t *testing.T) {
	a := okp("a", edKey('a'))
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", ``, "no JSON Web Key Set"},
		{"a list", `[]`, "no JSON Web Key Set"},
		{"no keys", `{"keys":[]}`, "no key that can be used"},
		{"only keys of other kinds", `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"X25519","x":"AA"}]}`, "no key that can be used"},
		{"only for encryption", `{"keys":[` + strings.Replace(a, `{`, `{"use":"enc",`, 1) + `]}`, "no key that can be used"},
		{"another algorithm", `{"keys":[` + strings.Replace(oct("x"), "HS256", "HS512", 1) + `]}`, "no key that can be used"},
		{"a number for a key", `{"keys":[` + a + `,{"kty":"oct","k":7}]}`, "key 2: it is no object of strings"},
		{"padded", `{"keys":[{"kty":"oct","k":"` + b64([]byte(shared)) + `="}]}`, "key 1: the key is not in base64url"},
		{"short shared key", `{"keys":[{"kty":"oct","k":"` + b64([]byte(testKey)) + `"}]}`, "k has 16 bytes"},
		{"short public key", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}`, "x has 3 bytes"},
		{"private key", `{"keys":[` + strings.Replace(a, `{`, `{"d":"AAAA",`, 1) + `]}`, "private key"},
		{"too many", `{"keys":[` + strings.Repeat(a+",", maxKeys) + a + `]}`, "33 keys"},
		{"too large", `{"keys":[` + a + `]}` + strings.Repeat(" ", maxKeysFile), "larger"},
	} {
		if _, err := ParseKeys([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), b64([]byte(shared))) {
			t.Errorf("%s: got %v, want an error about %q", tt.name, err, tt.want)
		}
	}
}

func TestWhatATokenGrants(t *testing.T) {
	for _, tt := range []struct {
		claims jwt.MapClaims
		code   string
		rights Rights
		ttl    time.Duration
	}{
		{jwt.MapClaims{}, "", callerRights, 0},
		{jwt.MapClaims{"perm": []string{}}, "", 0, 0},
		{jwt.MapClaims{"perm": []string{"join"}}, "", RightJoin, 0},
		{jwt.MapClaims{"perm": []string{"tell", "kick", "list", "relay", "join", "join"}}, "", allRights, 0},
		{jwt.MapClaims{"perm": []string{"jion"}}, "token_invalid", 0, 0},
		{jwt.MapClaims{"perm": "join"}, "token_invalid", 0, 0},
		{jwt.MapClaims{"perm": nil}, "", callerRights, 0},
		{jwt.MapClaims{"turn": map[string]any{"ttl": 90}}, "", callerRights, 90 * time.Second},
		{jwt.MapClaims{"turn": map[string]any{"ttl": -1}}, "token_invalid", 0, 0},
		{jwt.MapClaims{"turn": map[string]any{"ttl": 1 << 62}}, "token_invalid", 0, 0},
		{jwt.MapClaims{"turn": map[string]any{"ttl": "1h"}}, "token_invalid", 0, 0},
		{jwt.MapClaims{"room": []string{"a"}}, "token_invalid", 0, 0},
	} {
		tt.claims["exp"] = time.Now().Add(time.Hour).Unix()
		token := sign(t, jwt.SigningMethodHS256, []byte(testKey), tt.claims)
		g, err := testAccess("key").CheckBearer(request(remote, "turn.example"), token)
		if code(err) != tt.code || g.Rights != tt.rights || g.RelayTTL != tt.ttl {
			t.Errorf("%v: got %q %+v, want %q %v %v", tt.claims, code(err), g, tt.code, tt.rights, tt.ttl)
		}
	}
}

func TestTokensSayWhatTheyWereMadeFor(t *testing.T) {
	want := Token{Room: "r", Subject: "bob", Rights: RightList | RightKick, TTL: time.Hour, RelayTTL: 2 * time.Minute}
	token, err := want.Sign(testKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g := expect(t, testAccess("key"), request(remote, "turn.example", "Authorization: Bearer "+token), "")
	if g.Room != "r" || g.Subject != "bob" || g.Rights != RightList|RightKick || g.RelayTTL != 2*time.Minute {
		t.Errorf("got %+v, want %+v", g, want)
	}
	if _, err := (Token{TTL: time.Hour, RelayTTL: time.Second}).Sign(testKey, time.Now()); err == nil {
		t.Error("TURN credentials of a second: got no error")
	}
	if _, err := ParseRights("join,bann"); err == nil || !strings.Contains(err.Error(), "bann") {
		t.Errorf("got %v, want an error about bann", err)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[`+okp("a", edKey('a'))+`,`+oct("b")+`]}`), "a")
	f.Add([]byte(`{"keys":[{"kty":"oct","k":""}]}`), "")
	f.Fuzz(func(t *testing.T, text []byte, kid string) {
		k, err := ParseKeys(text)
		if err != nil {
			return
		}
		for _, alg := range []string{"EdDSA", "HS256", "none", ""} {
			for _, key := range k.of(alg, kid) {
				pub, isPub := key.(ed25519.PublicKey)
				raw, isRaw := key.([]byte)
				if alg == "EdDSA" && (!isPub || len(pub) != 32) || alg == "HS256" && (!isRaw || len(raw) < 32) || alg == "none" || alg == "" {
					t.Fatalf("%s: got a %T", alg, key)
				}
			}
		}
	})
}

func FuzzToken(f *testing.F) {
	keys := keySet(f, okp("a", edKey('a')), oct("b"))
	for _, claims := range []string{`{"exp":4102444800}`, `{"exp":4102444800,"perm":["kick"]}`, `{"exp":4102444800,"sub":"ü","turn":{"allocations":2,"bandwidth":10000}}`, `{"exp":1e400}`, `{"exp":"x","nbf":-1}`, `null`} {
		for _, header := range []string{`{"alg":"HS256"}`, `{"alg":"EdDSA","kid":"a"}`, `{"alg":"none"}`, `{"alg":1}`} {
			f.Add(header, claims, "")
		}
	}
	f.Fuzz(func(t *testing.T, header, claims, signature string) {
		access := testAccess("key")
		access.SetKeys(keys)
		if g, err := access.CheckBearer(request(remote, "turn.example"), b64([]byte(header))+"."+b64([]byte(claims))+"."+b64([]byte(signature))); err == nil {
			t.Fatalf("granted %+v", g)
		}
		// Signed as it should be, so that the claims are looked at.
		text := b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(claims))
		mac, err := jwt.SigningMethodHS256.Sign(text, []byte(testKey))
		if err != nil {
			t.Fatal(err)
		}
		g, denied := access.CheckBearer(request(remote, "turn.example"), text+"."+b64(mac))
		if denied == nil && (!json.Valid([]byte(claims)) || g.Rights&^allRights != 0 || g.RelayTTL < 0 || g.RelayTTL > maxTokenTTL || !isName(g.Room, "._~-") ||
			(g.Quota.Of == "") != (g.Quota.Allocations == 0 && g.Quota.Bandwidth == 0) || !isName(g.Quota.Of, "._~@-") ||
			g.Quota.Allocations != 0 && !isAllocations(g.Quota.Allocations) || g.Quota.Bandwidth != 0 && !isBandwidth(g.Quota.Bandwidth)) {
			t.Fatalf("granted %+v for %q", g, claims)
		}
	})
}
