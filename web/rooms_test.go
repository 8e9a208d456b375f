package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// roomed is a server with one room, demo, in which is p_anna; its calls are noted.
func roomed(mode string, full *Error, calls *[]string) http.Handler {
	demo := Room{Name: "demo", Max: 8, Count: 1, Peers: []RoomPeer{{ID: "p_anna", Name: "Anna", Meta: json.RawMessage(`{"a":1}`), Since: time.Unix(1790000000, 0).UTC(), Subject: "anna"}}}
	return New(Config{ICE: issue, Access: testAccess(mode), Rooms: Rooms{
		List: func() []Room { return []Room{{Name: "demo", Max: 8, Count: 1}} },
		Get:  func(room string) (Room, bool) { return demo, room == "demo" },
		Kick: func(room, peer, why string) bool {
			*calls = append(*calls, "kick "+room+" "+peer+" "+why)
			return room == "demo" && peer == "p_anna"
		},
		Tell: func(room, peer string, data json.RawMessage) int {
			*calls = append(*calls, "tell "+room+" "+peer+" "+string(data))
			return strings.Count("demo p_anna demo *", room+" "+peer)
		},
		Full: func(_ *http.Request, room string) *Error {
			if room == "demo" {
				return full
			}
			return nil
		},
	}})
}

func bearing(t *testing.T, token Token) string {
	t.Helper()
	token.TTL = time.Hour
	s, err := token.Sign(testKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: Bearer " + s
}

func post(path, body string, headers ...string) *http.Request {
	r := to("POST", path, headers...)
	r.Body = io.NopCloser(strings.NewReader(body))
	return r
}

// Every endpoint with every right, each alone.
func TestRightsOfTheRoomsAPI(t *testing.T) {
	routes := []struct {
		right        Rights
		method, path string
	}{
		{RightList, "GET", "/v1/rooms"},
		{RightList, "GET", "/v1/rooms/demo"},
		{RightKick, "DELETE", "/v1/rooms/demo/peers/p_anna"},
		{RightTell, "POST", "/v1/rooms/demo/messages"},
	}
	for _, route := range routes {
		for _, mode := range []string{"local", "open", "key"} {
			var calls []string
			request := func(headers ...string) answer {
				r := post(route.path, `{"peer":"*","data":1}`, headers...)
				r.Method = route.method
				return do(t, roomed(mode, nil, &calls), r)
			}
			request().wantError(t, 401, "auth_required")
			request("Authorization: Bearer wrong").wantError(t, 401, "token_invalid")
			request("Authorization: Bearer "+testKey, "Origin: https://evil.example").wantError(t, 403, "origin_denied")
			for right := RightJoin; right <= RightTell; right <<= 1 {
				if right != route.right {
					request(bearing(t, Token{Rights: right})).wantError(t, 403, "right_denied")
				}
			}
			if strings.Contains(route.path, "demo") {
				request(bearing(t, Token{Room: "other", Rights: route.right})).wantError(t, 403, "room_denied")
			}
			if len(calls) != 0 {
				t.Errorf("%s %s: refused, and yet: %v", route.method, route.path, calls)
			}
			for _, h := range []string{"Authorization: Bearer " + testKey, bearing(t, Token{Rights: route.right}), bearing(t, Token{Room: "demo", Rights: route.right})} {
				if got := request(h); got.Code/100 != 2 {
					t.Errorf("%s %s in mode %s: got %d %v", route.method, route.path, mode, got.Code, got.body)
				}
			}
		}
	}
}

func TestRoomsAreListedAndManaged(t *testing.T) {
	var calls []string
	h, key := roomed("key", nil, &calls), "Authorization: Bearer "+testKey
	text := func(r *http.Request) string { return strings.TrimSpace(do(t, h, r).Body.String()) }
	if got, want := text(to("GET", "/v1/rooms", key)), `{"rooms":[{"room":"demo","max":8,"count":1}]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := text(to("GET", "/v1/rooms", bearing(t, Token{Room: "demo", Rights: RightList}))), `{"rooms":[{"room":"demo","max":8,"count":1}]}`; got != want {
		t.Errorf("to whom may see one room: got %s, want %s", got, want)
	}
	if got, want := text(to("GET", "/v1/rooms", bearing(t, Token{Room: "other", Rights: RightList}))), `{"rooms":[]}`; got != want {
		t.Errorf("to whom may see another room: got %s, want %s", got, want)
	}
	if got, want := text(to("GET", "/v1/rooms/demo", key)), `{"room":"demo","max":8,"count":1,"peers":[{"id":"p_anna","name":"Anna","meta":{"a":1},"since":"2026-09-21T14:13:20Z","subject":"anna"}]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	do(t, h, to("GET", "/v1/rooms/none", key)).wantError(t, 404, "room_not_found")
	if got := do(t, h, to("DELETE", "/v1/rooms/demo/peers/p_anna?reason=be+nice", key)); got.Code != 204 || calls[0] != "kick demo p_anna be nice" {
		t.Errorf("got %d and %v", got.Code, calls)
	}
	do(t, h, to("DELETE", "/v1/rooms/demo/peers/p_bob", key)).wantError(t, 404, "peer_not_found")
	do(t, h, to("DELETE", "/v1/rooms/demo/peers/p_anna?reason="+strings.Repeat("x", 201), key)).wantError(t, 400, "reason_invalid")
	calls = nil
	if got := do(t, h, post("/v1/rooms/demo/messages", `{"peer":"p_anna","data":{"x":null}}`, key)); got.Code != 200 || got.body["told"] != 1.0 || calls[0] != `tell demo p_anna {"x":null}` {
		t.Errorf("got %d %v and %v", got.Code, got.body, calls)
	}
	do(t, h, post("/v1/rooms/demo/messages", `{"peer":"p_bob","data":1}`, key)).wantError(t, 404, "peer_not_found")
	calls = nil
	for _, bad := range []string{``, `{`, `{"data":1}`, `{"peer":"*"}`, `{"peer":1,"data":1}`, `[]`, "{\"peer\":\"*\",\"data\":\"\xff\"}"} {
		do(t, h, post("/v1/rooms/demo/messages", bad, key)).wantError(t, 400, "bad_message")
	}
	do(t, h, post("/v1/rooms/demo/messages", `{"peer":"*","data":"`+strings.Repeat("x", maxTold)+`"}`, key)).wantError(t, 413, "too_large")
	if len(calls) != 0 {
		t.Errorf("bad messages were told: %v", calls)
	}
	pre := do(t, h, to("OPTIONS", "/v1/rooms/demo/peers/p_anna", "Origin: https://app.example"))
	if pre.Code != 204 || pre.Header().Get("Access-Control-Allow-Methods") != "DELETE" || pre.Header().Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("preflight: got %d %v", pre.Code, pre.Header())
	}
}

func TestGuessingIsLimited(t *testing.T) {
	var calls []string
	h := roomed("key", nil, &calls)
	for _, path := range []string{"/v1/rooms", "/v1/validate?room=r&token=wrong"} {
		last := answer{}
		for range burst + 1 {
			last = do(t, h, to("GET", path, "Authorization: Bearer wrong"))
		}
		last.wantError(t, 429, "rate_limited")
	}
	if got := do(t, h, to("GET", "/v1/rooms", "Authorization: Bearer "+testKey)); got.Code != 200 {
		t.Errorf("with the key: got %d, want 200", got.Code)
	}
}

func TestValidateSaysWhatAJoinWould(t *testing.T) {
	noJoin := strings.TrimPrefix(bearing(t, Token{Rights: RightList}), "Authorization: Bearer ")
	good := strings.TrimPrefix(bearing(t, Token{Room: "demo", Subject: "bob"}), "Authorization: Bearer ")
	expired, err := Token{TTL: time.Second}.Sign(testKey, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	full := &Error{Status: 409, Code: "room_full", Message: "full", Hint: "wait"}
	for _, tt := range []struct {
		query, header string
		full          *Error
		status        int
		code          string
	}{
		{"?room=demo&token=" + good, "X: y", nil, 200, ""},
		{"?room=demo", "Authorization: Bearer " + good, nil, 200, ""},
		{"?room=demo&token=" + good, "X: y", full, 409, "room_full"},
		{"?room=demo", "X: y", nil, 401, "auth_required"},
		{"?room=demo&token=wrong", "X: y", nil, 401, "token_invalid"},
		{"?room=demo&token=" + expired, "X: y", nil, 401, "token_expired"},
		{"?room=demo&token=" + noJoin, "X: y", nil, 403, "right_denied"},
		{"?room=other&token=" + good, "X: y", nil, 403, "room_denied"},
		{"?token=" + good, "X: y", nil, 400, "missing_field"},
		{"?room=a%20b&token=" + good, "X: y", nil, 400, "bad_field"},
		{"?room=demo&token=" + good, "Origin: https://evil.example", nil, 403, "origin_denied"},
	} {
		var calls []string
		got := do(t, roomed("key", tt.full, &calls), to("GET", "/v1/validate"+tt.query, tt.header))
		if tt.code != "" {
			got.wantError(t, tt.status, tt.code)
			continue
		}
		if want := `{"ok":true,"room":"demo","subject":"bob","rights":["join","relay"]}`; strings.TrimSpace(got.Body.String()) != want || got.Code != 200 {
			t.Errorf("%s: got %d %s, want %s", tt.query, got.Code, got.Body, want)
		}
	}
	var calls []string
	got := do(t, roomed("open", nil, &calls), to("GET", "/v1/validate?room=demo", "Origin: https://app.example"))
	if got.Code != 200 || got.Header().Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("another origin: got %d %v", got.Code, got.Header())
	}
}

func TestWhoMayNotRelayGetsNoCredentials(t *testing.T) {
	var calls []string
	h := roomed("key", nil, &calls)
	servers := func(token Token) (n int, ttl float64, body []byte) {
		got := do(t, h, to("GET", "/v1/ice?ttl=3600", bearing(t, token)))
		return len(got.body["iceServers"].([]any)), got.body["ttl"].(float64), got.Body.Bytes()
	}
	all, ttl, _ := servers(Token{})
	few, _, body := servers(Token{Rights: RightJoin})
	if all != 2 || few != 1 || bytes.Contains(body, []byte("credential")) || bytes.Contains(body, []byte("turn:")) {
		t.Errorf("got %d servers with relay and %d without: %s", all, few, body)
	}
	if _, short, _ := servers(Token{RelayTTL: 2 * time.Minute}); ttl != 3600 || short != 120 {
		t.Errorf("got a ttl of %v, and %v where the token bounds it", ttl, short)
	}
}
