package web

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of a file of keys.
const (
	maxKeysFile  = 64 << 10
	maxKeys      = 32
	minSharedKey = 32 // bytes of a key for HS256 (RFC 7518, section 3.2)
)

// Keys verify tokens that were signed elsewhere: a JSON Web Key Set (RFC 7517)
// of Ed25519 public keys (RFC 8037) and of keys for HS256. It does not change.
type Keys struct{ list []verifier }

type verifier struct {
	id, alg string
	key     jwt.VerificationKey
}

// ReadKeys reads the file at path with [ParseKeys].
func ReadKeys(path string) (*Keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeysFile+1))
	if err != nil {
		return nil, err
	}
	return ParseKeys(b)
}

// ParseKeys reads a key set of at most 64 KiB and 32 keys. Keys of other kinds
// (RSA, EC, for encryption) are passed over; an error says which entry cannot
// be used and why, without its key.
func ParseKeys(b []byte) (*Keys, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	switch err := json.Unmarshal(b, &set); {
	case len(b) > maxKeysFile:
		return nil, fmt.Errorf("it is larger than %d bytes", maxKeysFile)
	case err != nil:
		return nil, errors.New(`it is no JSON Web Key Set: write {"keys":[{"kty":"OKP","crv":"Ed25519","kid":"NAME","x":"..."}]}`)
	case len(set.Keys) > maxKeys:
		return nil, fmt.Errorf("it has %d keys; use at most %d", len(set.Keys), maxKeys)
	}
	k := new(Keys)
	for i, raw := range set.Keys {
		v, err := parseKey(raw)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if v.alg != "" {
			k.list = append(k.list, v)
		}
	}
	if len(k.list) == 0 {
		return nil, errors.New("it has no key that can be used: EdDSA with Ed25519, or HS256")
	}
	return k, nil
}

// parseKey reads one key; one of another kind has no alg.
func parseKey(raw []byte) (v verifier, err error) {
	var j struct {
		Kty, Kid, Use, Alg, Crv, X, K, D string
	}
	if err := json.Unmarshal(raw, &j); err != nil {
		return v, errors.New("it is no object of strings")
	}
	var text string
	switch {
	case j.Use != "" && j.Use != "sig":
		return v, nil
	case j.Kty == "OKP" && j.Crv == "Ed25519" && (j.Alg == "" || j.Alg == "EdDSA" || j.Alg == "Ed25519"):
		v, text = verifier{id: j.Kid, alg: jwt.SigningMethodEdDSA.Alg()}, j.X
	case j.Kty == "oct" && (j.Alg == "" || j.Alg == "HS256"):
		v, text = verifier{id: j.Kid, alg: jwt.SigningMethodHS256.Alg()}, j.K
	default:
		return v, nil
	}
	key, err := base64.RawURLEncoding.Strict().DecodeString(text)
	switch {
	case err != nil:
		return v, errors.New("the key is not in base64url without padding (RFC 7515, section 2)")
	case v.alg == jwt.SigningMethodHS256.Alg() && len(key) < minSharedKey:
		return v, fmt.Errorf("k has %d bytes; HS256 needs at least %d", len(key), minSharedKey)
	case v.alg == jwt.SigningMethodHS256.Alg():
		v.key = key
	case j.D != "":
		return v, errors.New("it holds the private key d: give the server the public key only")
	case len(key) != ed25519.PublicKeySize:
		return v, fmt.Errorf("x has %d bytes; Ed25519 has %d", len(key), ed25519.PublicKeySize)
	default:
		v.key = ed25519.PublicKey(key)
	}
	return v, nil
}

// of returns the keys that may have signed a token with alg, and with kid if it
// names one. A key without a name fits every token.
func (k *Keys) of(alg, kid string) (keys []jwt.VerificationKey) {
	if k == nil {
		return nil
	}
	for _, v := range k.list {
		if v.alg == alg && (kid == "" || v.id == "" || v.id == kid) {
			keys = append(keys, v.key)
		}
	}
	return keys
}
