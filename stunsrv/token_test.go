package stunsrv

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := NewTokens(2 * time.Minute)
		token, expires := tokens.Issue()
		valid := tokens.checker().valid
		for range 2 { // the second check begins where the first ended
			if !valid(token) {
				t.Error("a fresh token is refused")
			}
		}
		if again, _ := tokens.Issue(); slices.Equal(again, token) || !valid(again) {
			t.Error("the next token is refused, or is the same")
		}
		if NewTokens(time.Minute).checker().valid(token) {
			t.Error("the token of another server is accepted")
		}
		for i := range token {
			forged := slices.Clone(token)
			forged[i] ^= 1
			if valid(forged) {
				t.Errorf("a token with another byte %d is accepted", i)
			}
		}
		for _, b := range [][]byte{nil, token[:tokenSize-1], append(slices.Clone(token), 0), make([]byte, tokenSize)} {
			if valid(b) {
				t.Errorf("%d bytes that are no token are accepted", len(b))
			}
		}
		time.Sleep(time.Until(expires) - time.Second)
		if !valid(token) {
			t.Error("a second before its end the token is refused")
		}
		time.Sleep(time.Second)
		if valid(token) {
			t.Error("at its end the token is accepted")
		}
	})
}

func TestTokenBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := NewTokens(time.Hour)
		spend := func(token []byte, from string, tries int) (n int) {
			for range tries {
				if tokens.spend(token, netip.MustParseAddr(from), 1) {
					n++
				}
			}
			return n
		}
		one, _ := tokens.Issue()
		if got := spend(one, "203.0.113.7", 5000); got != tokenBurst {
			t.Errorf("one token: got %d, want %d", got, tokenBurst)
		}
		time.Sleep(time.Second)
		if got := spend(one, "203.0.113.7", 5000); got != tokenRate {
			t.Errorf("one token, a second later: got %d, want %d", got, tokenRate)
		}
		all := 0
		for range 50 { // tokens cost nothing, so one source must not live on them
			token, _ := tokens.Issue()
			all += spend(token, "203.0.113.8", 100)
		}
		if all != sourceBurst {
			t.Errorf("many tokens of one source: got %d, want %d", all, sourceBurst)
		}
	})
}

func FuzzToken(f *testing.F) {
	tokens := NewTokens(time.Hour)
	valid := tokens.checker().valid
	issued, _ := tokens.Issue()
	f.Add(make([]byte, tokenSize))
	f.Add(issued[:tokenSize-1])
	f.Fuzz(func(t *testing.T, token []byte) {
		if valid(token) {
			t.Fatalf("%x was never issued", token)
		}
	})
}
