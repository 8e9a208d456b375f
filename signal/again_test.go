package signal

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

const nonce = "0123456789abcdef"

func joining(room, more string) string {
	return fmt.Sprintf(`{"type":"join","id":1,"room":%q,"resume":true%s}`, room, more)
}

func noncing(room, nonce string) string { return joining(room, `,"nonce":"`+nonce+`"`) }

// A client whose welcome was lost joins again: it is who it was, gets what came
// since, and nobody sees a second one. The newer socket has the session.
func TestWhoJoinsAgainIsTheSame(t *testing.T) {
	s := New(Config{Admit: admitAll, RoomMax: 3})
	url := serve(t, s)
	anna := enter(t, url, "r")
	first := dial(t, url, nil)
	first.send(noncing("r", nonce))
	anna.expect("peer-joined")
	id := s.hub("r").info().Peers[1].ID
	anna.send(`{"type":"message","peer":"` + id + `","data":"one"}`)
	lost := first.expect("welcome")
	first.expect("message")
	carl := enter(t, url, "r") // the room is full now
	anna.expect("peer-joined")

	again := dial(t, url, nil)
	again.send(noncing("r", nonce))
	w := again.expect("welcome")
	if peers := w["peers"].([]any); w["peer"] != id || len(peers) != 1 || peers[0].(map[string]any)["id"] != anna.id {
		t.Errorf("got %v, want the welcome of %s, when only %s was there", w, id, anna.id)
	}
	if m := again.expect("message"); m["data"] != "one" || m["seq"] != 1.0 {
		t.Errorf("got %v, want what came first", m)
	}
	if m := again.expect("peer-joined"); m["peer"] != carl.id || m["seq"] != 2.0 {
		t.Errorf("got %v, want %s", m, carl.id)
	}
	if lost["resume"] != w["resume"] {
		t.Error("got another token, which the older socket's client does not know")
	}
	first.expect("peer-joined")
	first.closed(closeReplaced)

	_ = again.nc.Close() // away, and again before a word
	anna.expect("peer-away")
	third := dial(t, url, nil)
	third.send(noncing("r", nonce))
	third.expect("welcome")
	third.expect("message")
	third.expect("peer-joined")
	for _, c := range []*client{anna, carl} {
		if c == carl {
			c.expect("peer-away")
		}
		c.expect("peer-back")
	}
	third.send(`{"type":"message","id":2,"peer":"*","data":"here"}`)
	for _, c := range []*client{anna, carl} {
		if m := c.expect("message"); m["peer"] != id || m["data"] != "here" || strings.Contains(fmt.Sprint(m), nonce) {
			t.Errorf("got %v", m)
		}
	}
	token := fmt.Sprint(w["resume"])
	_ = third.nc.Close()
	anna.expect("peer-away")
	last := dial(t, url, nil)
	last.send(`{"type":"resume","resume":"` + token + `","seq":2}`)
	last.expect("resumed")
}

// Who was heard of has had its welcome, and then joins with the same nonce: it has
// forgotten all. The session it had is over at once, and no ghost stays.
func TestWhoForgotIsSomebodyNew(t *testing.T) {
	url := serve(t, New(Config{Admit: admitAll}))
	anna := enter(t, url, "r")
	first := dial(t, url, nil)
	first.send(noncing("r", nonce))
	id := first.expect("welcome")["peer"].(string)
	anna.expect("peer-joined")
	first.send(`{"type":"message","id":2,"peer":"*","data":1}`)
	anna.expect("message")
	_ = first.nc.Close()
	anna.expect("peer-away")
	anna.send(`{"type":"message","id":7,"peer":"` + id + `","data":1}`)
	anna.send(`{"type":"ice"}`)
	anna.expect("ice") // so the message before it was handled

	again := dial(t, url, nil)
	again.send(noncing("r", nonce))
	if w := again.expect("welcome"); w["peer"] == id || len(w["peers"].([]any)) != 1 {
		t.Errorf("got %v, want a new peer, and %s alone with it", w, anna.id)
	}
	if m := anna.expect("error"); m["code"] != "not_delivered" || m["re"] != 7.0 {
		t.Errorf("got %v, want not_delivered for 7", m)
	}
	if m := anna.expect("peer-left"); m["peer"] != id || m["reason"] != "closed" {
		t.Errorf("got %v, want that %s left", m, id)
	}
	anna.expect("peer-joined")
}

// A nonce is good for one room and one holder of a token, and takes the place of no
// right. A wrong one is the same as none.
func TestANonceIsNoRight(t *testing.T) {
	s := New(Config{RoomMax: 1, Admit: func(_ *http.Request, room, token string) (Grant, *Error) {
		if token == "" {
			return Grant{}, errNobody()
		}
		return Grant{Subject: token}, nil
	}})
	url := serve(t, s)
	join := func(room, nonce, token string) *client {
		c := dial(t, url, nil)
		c.send(joining(room, `,"nonce":"`+nonce+`","token":"`+token+`"`))
		return c
	}
	id := join("r", nonce, "anna").expect("welcome")["peer"]
	join("r", nonce, "").refused("auth_required", closeDenied)
	join("r", nonce, "bob").refused("room_full", closeFull)
	join("r", nonce+"0", "anna").refused("room_full", closeFull)
	if got := join("other", nonce, "anna").expect("welcome")["peer"]; got == id {
		t.Errorf("got %v in another room as well", got)
	}
	if got := join("r", nonce, "anna").expect("welcome")["peer"]; got != id {
		t.Errorf("got %v, want %v", got, id)
	}
}

// The operator's backend is asked once for a session, and told of each join that it
// has allowed.
func TestABackendIsAskedOnce(t *testing.T) {
	var o told
	asked := make(chan struct{})
	s := New(Config{Admit: admitAll,
		Approve: func(_ context.Context, j Joining) *Error {
			o.add("join " + j.Name)
			if j.Name == "slow" {
				<-asked
			}
			return nil
		},
		Left: func(j Joining, why string) { o.add("left " + j.Name + " " + why) },
	})
	url := serve(t, s)
	join := func(name string) *client {
		c := dial(t, url, nil)
		c.send(joining("r", `,"nonce":"`+nonce+`","name":"`+name+`"`))
		return c
	}
	slow := join("slow")
	o.await(t, "join slow")
	quick := join("quick")
	id := quick.expect("welcome")["peer"]
	close(asked) // the older of two sockets does not get the session any more
	slow.closed(closeReplaced)
	o.await(t, "join slow", "join quick", "left slow rejoined")
	if again := join("again").expect("welcome"); again["peer"] != id {
		t.Errorf("got %v, want %v", again, id)
	}
	o.await(t, "join slow", "join quick", "left slow rejoined")
	if info, _ := s.Room("r"); info.Count != 1 {
		t.Errorf("got %d in the room, want one", info.Count)
	}
}

func TestNonceIsWellMade(t *testing.T) {
	for _, tt := range []struct{ join, code string }{
		{noncing("r", nonce), ""},
		{noncing("r", strings.Repeat("-_aZ", 16)), ""},
		{noncing("r", nonce[1:]), "bad_field"},
		{noncing("r", strings.Repeat("x", 65)), "bad_field"},
		{noncing("r", nonce+"+"), "bad_field"},
		{noncing("r", nonce+"\\n"), "bad_field"},
		{joining("r", `,"nonce":12345678901234567890`), "bad_field"},
		{strings.Replace(noncing("r", nonce), "true", "false", 1), "bad_field"},
	} {
		_, err := Decode([]byte(tt.join))
		if codeOf(err) != tt.code || err != nil && strings.Contains(err.Message+err.Hint, nonce[1:]) {
			t.Errorf("%s: got %v, want %q", tt.join, err, tt.code)
		}
	}
}

// Wherever the first socket of a Go client breaks, it gets in, and is there once; but
// where nothing shows that there is a server.
func TestEnterOutlivesItsFirstSocket(t *testing.T) {
	entered := 0
	for lasts := range 9 {
		s := New(Config{Admit: admitAll})
		b := loopback()
		dial, first := b.dial, true
		b.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err == nil && first {
				c = &fragile{Conn: c, lasts: lasts + 1}
			}
			first = false
			return c, err
		}
		c, err := Enter(t.Context(), serve(t, s), "r", ClientOptions{HTTP: b.client()})
		if err != nil {
			if info, _ := s.Room("r"); info.Count != 0 || !strings.Contains(err.Error(), "connect to") {
				t.Errorf("after %d reads and writes: %v, and %d are there", lasts, err, info.Count)
			}
			continue
		}
		entered++
		expectEvent(t, c, "welcome")
		if info, _ := s.Room("r"); info.Count != 1 {
			t.Errorf("after %d reads and writes: %d are there", lasts, info.Count)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if entered < 6 {
		t.Errorf("got in %d times", entered)
	}
}
