package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"turnkey/signal"
	"turnkey/signal/webhook"
	"turnkey/web"
)

// enter joins a room of the server with a token, and returns the client and the
// welcome, or the code of the refusal.
func (s *secured) enter(t *testing.T, room, token string) (*signal.Client, signal.Event, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	c, err := signal.Enter(ctx, "ws://"+s.web+"/v1/ws", room, signal.ClientOptions{Token: token, Name: "Anna"})
	var refusal *signal.Error
	switch {
	case errors.As(err, &refusal):
		return nil, signal.Event{}, refusal.Code
	case err != nil:
		t.Fatal(err)
	}
	return c, <-c.Events(), ""
}

func signedFor(t *testing.T, token web.Token) string {
	t.Helper()
	token.TTL = time.Hour
	text, err := token.Sign(operatorKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Rights over real HTTP and WebSockets: what a token says is what its holder may do,
// and GET /v1/validate says the same as a join.
func TestRightsOfTokens(t *testing.T) {
	s := newPlain(t)
	s.environ["TURNKEY_AUTH"] = "key"
	s.environ["TURNKEY_ROOM_MAX"] = "2"
	s.serve(t)
	expired, err := web.Token{TTL: time.Second}.Sign(operatorKey, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ token, code string }{
		{"", "auth_required"}, {"wrong", "token_invalid"}, {expired, "token_expired"},
		{signedFor(t, web.Token{Rights: web.RightList | web.RightKick}), "right_denied"},
		{signedFor(t, web.Token{Room: "other"}), "room_denied"},
	} {
		if _, _, code := s.enter(t, "demo", tt.token); code != tt.code {
			t.Errorf("join: got %q, want %q", code, tt.code)
		}
		if _, body := s.ask(t, "GET", "/v1/validate?room=demo&token="+tt.token, ""); !strings.Contains(body, `"code":"`+tt.code+`"`) {
			t.Errorf("validate: got %s, want %s", body, tt.code)
		}
	}
	noRelay, welcome, _ := s.enter(t, "demo", signedFor(t, web.Token{Subject: "anna", Rights: web.RightJoin}))
	if servers := string(welcome.ICEServers); strings.Contains(servers, "turn:") || !strings.Contains(servers, "stun:") {
		t.Errorf("without relay: got %s, want STUN only", servers)
	}
	_, other, _ := s.enter(t, "demo", signedFor(t, web.Token{RelayTTL: 2 * time.Minute}))
	expires, err := time.Parse(time.RFC3339, other.ICEExpiresAt)
	if left := time.Until(expires); err != nil || !strings.Contains(string(other.ICEServers), "turn:") || left > 2*time.Minute || left < time.Minute {
		t.Errorf("with relay for 2 minutes: got %s until %s", other.ICEServers, other.ICEExpiresAt)
	}
	if status, body := s.ask(t, "GET", "/v1/validate?room=demo", operatorKey); status != 409 || !strings.Contains(body, "room_full") {
		t.Errorf("validate of a full room: got %d %s", status, body)
	}
	moderator := signedFor(t, web.Token{Room: "demo", Rights: web.RightList | web.RightKick})
	status, body := s.ask(t, "GET", "/v1/rooms/demo", moderator)
	var room web.Room
	if err := json.Unmarshal([]byte(body), &room); err != nil || status != 200 || len(room.Peers) != 2 || room.Peers[0].Subject != "anna" {
		t.Errorf("got %d %s, %v", status, body, err)
	}
	if status := s.status(t, "DELETE", "/v1/rooms/demo/peers/"+welcome.Peer, moderator); status != 204 {
		t.Errorf("kick: got %d", status)
	}
	code := ""
	for e := range noRelay.Events() {
		if e.Type == "error" {
			code = e.Code
		}
	}
	if code != "kicked" {
		t.Errorf("the kicked got %q", code)
	}
}

// A quota holds for all the credentials of a token, wherever they come from, at every
// server that shares the secret.
func TestQuotaOfATokenHoldsAtTURN(t *testing.T) {
	const secret = "a-secret-that-two-servers-share"
	s, other := newPlain(t), newPlain(t)
	for _, one := range []*secured{s, other} {
		one.environ["TURNKEY_AUTH"], one.environ["TURNKEY_SECRET"] = "key", secret
		one.serve(t)
	}
	token := signedFor(t, web.Token{Allocations: 2, Bandwidth: 5_000_000})
	login := func(servers []web.ICEServer) (string, string) {
		t.Helper()
		for _, v := range servers {
			if v.Username != "" {
				return v.Username, v.Credential
			}
		}
		t.Fatalf("got %+v, want a TURN server", servers)
		return "", ""
	}
	issued := func(label string) (string, string) {
		t.Helper()
		var got web.Session
		status, body := s.ask(t, "GET", "/v1/ice?label="+label, token)
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("got %d %s, %v", status, body, err)
		}
		return login(got.ICEServers)
	}
	username, password := issued("anna")
	_, welcome, _ := s.enter(t, "demo", token)
	var servers []web.ICEServer
	if err := json.Unmarshal(welcome.ICEServers, &servers); err != nil {
		t.Fatal(err)
	}
	peer, peerPassword := login(servers)
	for _, name := range []string{username, peer} {
		if _, quota, _ := strings.Cut(name, "=quota-"); !strings.HasPrefix(quota, "2-5000000-~") {
			t.Errorf("the username %q does not say the quota", name)
		}
	}
	if _, err := s.relay(t, username, password); err != nil {
		t.Fatal(err)
	}
	if _, err := s.relay(t, peer, peerPassword); err != nil {
		t.Fatal(err)
	}
	list := s.live(t)
	if len(list) != 2 || list[0].Quota == nil || list[1].Quota == nil || *list[0].Quota != *list[1].Quota || list[0].Quota.Allocations != 2 ||
		list[0].Quota.Bandwidth != 5_000_000 || list[0].User != "anna" || list[1].User != welcome.Peer {
		t.Errorf("got %+v, want both with one quota", list)
	}
	var nat struct{ TURN []web.ICEServer }
	if status, body := s.ask(t, "POST", "/v1/nat", token); json.Unmarshal([]byte(body), &nat) != nil || status != 200 {
		t.Fatalf("got %d %s", status, body)
	}
	tester, testerPassword := login(nat.TURN)
	third, thirdPassword := issued("carl")
	for name, password := range map[string]string{tester: testerPassword, third: thirdPassword, username: password} {
		if _, err := s.relay(t, name, password); err == nil || !strings.Contains(err.Error(), "486") {
			t.Errorf("%s: got %v, want 486", name, err)
		}
	}
	if text := s.stderr.String(); !strings.Contains(text, "token's quota: its turn.allocations") {
		t.Error("the log does not say that it was the token's quota")
	}
	for i, want := range []string{"", "", "486"} {
		if _, err := other.relay(t, third, thirdPassword); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("at the other server, allocation %d: got %v, want %q", i+1, err, want)
		}
	}
}

// The NAT test of a page gives TURN credentials, so it takes the right to have some.
func TestNATTestTakesTheRightToRelay(t *testing.T) {
	s := newPlain(t)
	s.environ["TURNKEY_AUTH"] = "key"
	s.serve(t)
	for token, want := range map[string]string{
		signedFor(t, web.Token{Rights: web.RightJoin | web.RightList}): `"code":"right_denied"`,
		signedFor(t, web.Token{}):                                      `"credential":"`,
		operatorKey:                                                    `"credential":"`,
		"":                                                             `"code":"auth_required"`,
	} {
		status, body := s.ask(t, "POST", "/v1/nat", token)
		if !strings.Contains(body, want) || (status == 200) != strings.Contains(want, "credential") {
			t.Errorf("got %d %s, want %s", status, body, want)
		}
	}
}

// Whatever takes a key or a token refuses who guesses, after some attempts, and
// never the holder of the key.
func TestGuessingIsLimitedEverywhere(t *testing.T) {
	s := newPlain(t)
	s.environ["TURNKEY_AUTH"] = "key"
	s.serve(t)
	const attempts = 60 // a burst, and what the rate gives while they are made
	for _, route := range []string{
		"GET /v1/ice", "POST /v1/token", "POST /v1/nat", "GET /v1/rooms/demo/doctor", "GET /v1/rooms", "GET /v1/rooms/demo",
		"DELETE /v1/rooms/demo/peers/p_a", "POST /v1/rooms/demo/messages", "GET /v1/sessions", "DELETE /v1/sessions/1",
		"DELETE /v1/sessions?user=x", "GET /metrics", "GET /v1/validate?room=demo", "POST /v1/lint",
	} {
		method, path, _ := strings.Cut(route, " ")
		status, body := 0, ""
		for range attempts {
			if status, body = s.ask(t, method, path, "wrong"); status == 429 {
				break
			}
		}
		if status != 429 || !strings.Contains(body, "rate_limited") {
			t.Errorf("%s: the last guess got %d %s, want 429", route, status, body)
		}
		if path == "/v1/validate?room=demo" { // nobody needs the key for it
			continue
		}
		if status := s.status(t, method, path, operatorKey); status == 429 || status == 401 {
			t.Errorf("%s with the key: got %d", route, status)
		}
	}
	code := ""
	for range attempts {
		if _, _, code = s.enter(t, "demo", "wrong"); code != "token_invalid" {
			break
		}
	}
	if code != "rate_limited" {
		t.Errorf("join: the last guess got %q, want rate_limited", code)
	}
	if _, _, code := s.enter(t, "demo", operatorKey); code != "" {
		t.Errorf("join with the key: got %q", code)
	}
}

func TestWebhookDecides(t *testing.T) {
	events := make(chan string, 16)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e struct{ Event, Room, Name, Reason string }
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.Header.Get("X-Turnkey-Signature") == "" {
			t.Errorf("got %+v, %v", e, err)
		}
		events <- e.Event + " " + e.Room + " " + e.Name + " " + e.Reason
		_, _ = io.WriteString(w, map[string]string{"good": `{"allow":true}`, "bad": `{"allow":false,"reason":"not paid"}`, "down": `oops`}[e.Room])
	}))
	t.Cleanup(backend.Close)
	s := newPlain(t)
	s.environ["TURNKEY_WEBHOOK_URL"] = backend.URL
	s.environ["TURNKEY_WEBHOOK_SECRET"] = operatorKey
	s.serve(t)
	for room, want := range map[string]string{"bad": "webhook_denied", "down": "webhook_failed", "good": ""} {
		c, _, code := s.enter(t, room, "")
		if code != want {
			t.Errorf("room %s: got %q, want %q", room, code, want)
		}
		if got := <-events; got != "join "+room+" Anna " {
			t.Errorf("the backend was told %q", got)
		}
		if c != nil {
			_ = c.Close()
			if got := <-events; got != "leave good Anna bye" {
				t.Errorf("the backend was told %q", got)
			}
		}
	}
}

// The secret of the webhook is read again, as the others are.
func TestSecretOfTheWebhookIsFollowed(t *testing.T) {
	const first, second = "north-north-north-north", "south-south-south-south"
	var secret atomic.Value // by which the newest request was signed
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for _, s := range []string{first, second} {
			if webhook.Sign([]byte(s), r.Header.Get(webhook.HeaderTimestamp), body) == r.Header.Get(webhook.HeaderSignature) {
				secret.Store(s)
			}
		}
		_, _ = io.WriteString(w, `{"allow":true}`)
	}))
	t.Cleanup(backend.Close)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(first+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newPlain(t)
	s.environ["TURNKEY_WEBHOOK_URL"] = backend.URL
	s.environ["TURNKEY_WEBHOOK_SECRET_FILE"] = file
	s.serve(t)
	if _, _, code := s.enter(t, "demo", ""); code != "" || secret.Load() != first {
		t.Fatalf("got %q, signed by %v", code, secret.Load())
	}
	if err := os.WriteFile(file, []byte(second+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hangup(t)
	until(t, "request signed by the new secret", func() bool {
		if c, _, _ := s.enter(t, "demo", ""); c != nil {
			_ = c.Close()
		}
		return secret.Load() == second
	})
	if !strings.Contains(s.stderr.String(), "TURNKEY_WEBHOOK_SECRET_FILE") {
		t.Error("the log does not say that the secret was read again")
	}
}

func TestKeysOfOthersAreFollowed(t *testing.T) {
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", 32)))
	set := func(k ed25519.PrivateKey) []byte {
		return []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":"` + base64.RawURLEncoding.EncodeToString(k.Public().(ed25519.PublicKey)) + `"}]}`)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, set(ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", 32)))), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newPlain(t)
	s.environ["TURNKEY_AUTH"] = "key"
	delete(s.environ, "TURNKEY_API_KEY")
	s.environ["TURNKEY_JWT_KEYS"] = file
	s.serve(t)
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	if status := s.status(t, "GET", "/v1/ice", token); status != 401 {
		t.Errorf("before the key is there: got %d", status)
	}
	if err := os.WriteFile(file, append(set(key), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "new key", func() bool {
		time.Sleep(time.Second) // the limit of requests
		return s.status(t, "GET", "/v1/ice", token) == 200
	})
}
