package signal

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestWhoMayJoin(t *testing.T) {
	var told string
	cfg := Config{Admit: func(_ *http.Request, room, token string) (Grant, *Error) {
		told = token
		if token != "good" {
			return Grant{}, &Error{Code: "token_invalid", Message: "wrong token", Hint: "ask for another"}
		}
		return Grant{Room: "r"}, nil
	}}
	url := serve(t, New(cfg))
	const join = `{"type":"join","id":1,"room":"r"}`
	for _, tt := range []struct {
		name, url string
		opts      websocket.DialOptions
		join      string
		code      string
	}{
		{"no token", url, websocket.DialOptions{}, join, "token_invalid"},
		{"wrong token", url + "?token=bad", websocket.DialOptions{}, join, "token_invalid"},
		{"in the URL", url + "?token=good", websocket.DialOptions{}, join, ""},
		{"in the header", url, websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"bearer good"}}}, join, ""},
		{"as subprotocol", url, websocket.DialOptions{Subprotocols: []string{subprotocol, "bearer.good"}}, join, ""},
		{"in join, before all others", url + "?token=bad", websocket.DialOptions{}, `{"type":"join","id":1,"room":"r","token":"good"}`, ""},
		{"for another room", url + "?token=good", websocket.DialOptions{}, `{"type":"join","id":1,"room":"s"}`, "room_denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, tt.url, &tt.opts)
			c.send(tt.join)
			if tt.code != "" {
				c.refused(tt.code, closeDenied)
				return
			}
			if c.expect("welcome"); told != "good" {
				t.Errorf("Admit was told %q", told)
			}
			if want := len(tt.opts.Subprotocols) > 0; want != (c.ws.Subprotocol() == subprotocol) {
				t.Errorf("got subprotocol %q, asked for %v", c.ws.Subprotocol(), tt.opts.Subprotocols)
			}
		})
	}
}

func TestZeroConfigAdmitsNobody(t *testing.T) {
	c := dial(t, serve(t, New(Config{})), nil)
	c.send(`{"type":"join","room":"r"}`)
	c.refused("auth_required", closeDenied)
}

func TestForeignOriginIsToldOverTheSocket(t *testing.T) {
	url := serve(t, New(Config{Admit: admitAll}))
	foreign := dial(t, url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
	foreign.refused("origin_denied", closeDenied)
	own := "http" + strings.TrimSuffix(strings.TrimPrefix(url, "ws"), "/v1/ws")
	c := dial(t, url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {own}}})
	c.send(`{"type":"join","room":"r"}`)
	c.expect("welcome")
}

func TestCaps(t *testing.T) {
	url := serve(t, New(Config{Admit: admitAll, RoomMax: 2, RoomsMax: 2, PeersPerIP: 5}))
	a := enter(t, url, "r")
	enter(t, url, "r")
	full := dial(t, url, nil)
	full.send(`{"type":"join","id":5,"room":"r"}`)
	if m := full.refused("room_full", closeFull); m["re"] != 5.0 {
		t.Errorf("got re %v, want 5", m["re"])
	}
	enter(t, url, "s")
	third := dial(t, url, nil)
	third.send(`{"type":"join","room":"t"}`)
	third.refused("server_full", closeFull)
	a.expect("peer-joined")
	a.send(`{"type":"bye"}`)
	a.closed(closeBye)
	a.expectRoomFor(url, "r")
}

// expectRoomFor joins in the place of a peer that left. The server notices
// the end of a socket on its own goroutine, so the first try may be early.
func (c *client) expectRoomFor(url, room string) {
	c.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		ws, resp, err := websocket.Dial(patience(c.t), url, nil)
		if err != nil {
			if resp == nil || resp.StatusCode != http.StatusTooManyRequests {
				c.t.Fatalf("dialing: %v", err)
			}
			continue
		}
		n := &client{t: c.t, ws: ws}
		defer ws.CloseNow()
		n.send(`{"type":"join","room":"` + room + `"}`)
		n.expect("welcome")
		return
	}
	c.t.Fatal("the place of a peer that left stays taken")
}

func TestSocketsOfOneAddressAreCounted(t *testing.T) {
	from := map[string]string{"a": "192.0.2.1", "b": "::ffff:192.0.2.1", "c": "2001:db8::1", "d": "2001:db8::2:3", "e": "2001:db8:0:1::1"}
	s := New(Config{Admit: admitAll, PeersPerIP: 1, Client: func(r *http.Request) netip.Addr {
		return netip.MustParseAddr(from[r.URL.Query().Get("from")])
	}})
	url := serve(t, s)
	for _, tt := range []struct {
		from string
		ok   bool
	}{{"a", true}, {"b", false}, {"c", true}, {"d", false}, {"e", true}} {
		ws, resp, err := websocket.Dial(patience(t), url+"?from="+tt.from, nil)
		if ws != nil {
			defer ws.CloseNow()
		}
		if (err == nil) != tt.ok || !tt.ok && resp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("from %s: got %v, want admitted %v or 429", from[tt.from], err, tt.ok)
		}
	}
}

func TestNoUpgradeIsAnsweredReadably(t *testing.T) {
	s := New(Config{Admit: admitAll})
	check := func(want int, code string, header http.Header) {
		t.Helper()
		r := httptest.NewRequest("GET", "/v1/ws", nil)
		r.Header = header
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		var body struct {
			Error struct{ Code, Message, Hint string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
		if e := body.Error; w.Code != want || e.Code != code || e.Message == "" || e.Hint == "" {
			t.Errorf("got %d %+v, want %d %s", w.Code, e, want, code)
		}
	}
	check(http.StatusUpgradeRequired, "upgrade_required", http.Header{})
	check(http.StatusUpgradeRequired, "upgrade_required", http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"h2c"}})
	good := http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"WebSocket"}}
	s.sockets = s.cfg.RoomsMax*s.cfg.RoomMax + spareSockets
	check(http.StatusServiceUnavailable, "server_full", good)
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	check(http.StatusServiceUnavailable, "draining", good)
}

func TestICEThatCannotBeIssuedIsSaid(t *testing.T) {
	for _, bad := range []json.RawMessage{nil, json.RawMessage(`[{`)} {
		url := serve(t, New(Config{Admit: admitAll, ICE: func(string) (json.RawMessage, time.Time, error) {
			return bad, time.Time{}, nil
		}}))
		c := dial(t, url, nil)
		c.send(`{"type":"join","room":"r"}`)
		c.refused("internal", websocket.StatusInternalError)
	}
}
