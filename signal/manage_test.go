package signal

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func TestRoomsTellWhoIsIn(t *testing.T) {
	before := time.Now().Truncate(time.Second)
	s := New(Config{RoomMax: 3, Admit: func(_ *http.Request, _, token string) (Grant, *Error) { return Grant{Subject: token}, nil }})
	url := serve(t, s)
	if got := s.Rooms(); len(got) != 0 {
		t.Fatalf("got %v, want no rooms", got)
	}
	a := dial(t, url, nil)
	a.send(`{"type":"join","room":"b","name":"Anna","meta":{"x":1},"token":"anna","resume":true}`)
	id := a.expect("welcome")["peer"].(string)
	enter(t, url, "a")
	enter(t, url, "b")
	list := s.Rooms()
	if len(list) != 2 || list[0].Name != "a" || list[0].Count != 1 || list[1].Name != "b" || list[1].Count != 2 || list[1].Max != 3 || list[1].Peers != nil {
		t.Errorf("got %+v, want rooms a and b with 1 and 2 of 3", list)
	}
	_ = a.nc.Close()
	r := awaitRoom(t, s, "b", func(r RoomInfo) bool { return r.Peers[0].Away })
	p := r.Peers[0]
	if p.ID != id || p.Name != "Anna" || string(p.Meta) != `{"x":1}` || p.Subject != "anna" || p.Since.Before(before) || p.Since.After(time.Now()) || r.Peers[1].Away {
		t.Errorf("got %+v", r)
	}
	if _, ok := s.Room("none"); ok {
		t.Error("got a room where nobody is")
	}
}

// awaitRoom asks until the room is as it should be.
func awaitRoom(t *testing.T, s *Server, name string, right func(RoomInfo) bool) RoomInfo {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		r, ok := s.Room(name)
		if ok && right(r) {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v", r)
		}
	}
}

func TestKickedPeersAreToldAndCannotResume(t *testing.T) {
	s := New(Config{Admit: admitAll})
	url := serve(t, s)
	a := enter(t, url, "r")
	b := dial(t, url, nil)
	b.send(`{"type":"join","room":"r","resume":true}`)
	w := b.expect("welcome")
	b.id = w["peer"].(string)
	a.expect("peer-joined")
	a.send(`{"type":"message","peer":"` + b.id + `","data":"before"}`)
	b.expect("message")
	for _, miss := range [][2]string{{"r", "p_none"}, {"none", b.id}, {"r", Everyone}} {
		if s.Kick(miss[0], miss[1], "") {
			t.Errorf("%v: kicked", miss)
		}
	}
	if !s.Kick("r", b.id, "be nice") {
		t.Fatal("not kicked")
	}
	if m := b.refused("kicked", closeDenied); m["message"] != "you were put out of the room: be nice" {
		t.Errorf("got %v", m)
	}
	if m := a.expect("peer-left"); m["peer"] != b.id || m["reason"] != "kicked" {
		t.Errorf("got %v", m)
	}
	if s.Kick("r", b.id, "") {
		t.Error("kicked twice")
	}
	again := dial(t, url, nil)
	again.send(`{"type":"resume","resume":"` + w["resume"].(string) + `"}`)
	again.refused("resume_expired", 0)
	again.send(`{"type":"join","room":"r"}`)
	again.expect("welcome")
}

func TestKickedWhileAway(t *testing.T) {
	s := New(Config{Admit: admitAll})
	url := serve(t, s)
	b := dial(t, url, nil)
	b.send(`{"type":"join","room":"r","resume":true}`)
	w := b.expect("welcome")
	_ = b.nc.Close()
	awaitRoom(t, s, "r", func(r RoomInfo) bool { return r.Peers[0].Away })
	if !s.Kick("r", w["peer"].(string), "") {
		t.Fatal("not kicked")
	}
	again := dial(t, url, nil)
	again.send(`{"type":"resume","resume":"` + w["resume"].(string) + `"}`)
	again.refused("resume_expired", 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rooms) != 0 || len(s.sessions) != 0 || s.sockets != 1 {
		t.Errorf("left behind: %d rooms, %d sessions, %d sockets", len(s.rooms), len(s.sessions), s.sockets)
	}
}

func TestGoClientThatIsKickedStaysOut(t *testing.T) {
	s := New(Config{Admit: admitAll})
	c, err := Enter(t.Context(), serve(t, s), "r", ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Kick("r", (<-c.Events()).Peer, "")
	for range c.Events() {
	}
	if e := c.Err(); e == nil || len(s.Rooms()) != 0 {
		t.Errorf("got %v, want the client to end", e)
	}
	_ = c.Close()
}

func TestTell(t *testing.T) {
	s := New(Config{Admit: admitAll})
	url := serve(t, s)
	a, b := enter(t, url, "r"), enter(t, url, "r")
	a.expect("peer-joined")
	if n := s.Tell("r", Everyone, json.RawMessage(`{"x":[1]}`)); n != 2 {
		t.Errorf("told %d, want 2", n)
	}
	if n := s.Tell("r", b.id, json.RawMessage(`"you"`)); n != 1 {
		t.Errorf("told %d, want 1", n)
	}
	for _, miss := range [][2]string{{"r", "p_none"}, {"none", Everyone}} {
		if n := s.Tell(miss[0], miss[1], json.RawMessage(`1`)); n != 0 {
			t.Errorf("%v: told %d", miss, n)
		}
	}
	for _, c := range []*client{a, b} {
		if m := c.expect("message"); m["peer"] != "server" || m["data"].(map[string]any)["x"] == nil {
			t.Errorf("got %v", m)
		}
	}
	if m := b.expect("message"); m["data"] != "you" {
		t.Errorf("got %v", m)
	}
	a.send(`{"type":"message","peer":"server","data":1}`)
	a.refused("peer_not_found", 0)
}

func TestFullSaysWhatAJoinWould(t *testing.T) {
	s := New(Config{Admit: admitAll, RoomMax: 2, RoomsMax: 2, PeersPerIP: 4})
	url := serve(t, s)
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "127.0.0.1:9"
	check := func(room, code string, status int) {
		t.Helper()
		err, got := s.Full(r, room)
		if code == "" && err != nil || code != "" && (err == nil || err.Code != code || got != status) {
			t.Errorf("room %s: got %v %d, want %q %d", room, err, got, code, status)
		}
	}
	check("a", "", 0)
	enter(t, url, "a")
	check("a", "", 0)
	enter(t, url, "a")
	check("a", "room_full", 409)
	check("b", "", 0)
	enter(t, url, "b")
	check("b", "", 0)
	check("c", "server_full", 503)
	enter(t, url, "b")
	check("b", "too_many_sockets", 429)
	_ = s.Shutdown(context.Background())
	check("a", "draining", 503)
}

// told notes what Approve and Left are called with.
type told struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed by the next line
}

func (o *told) add(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line)
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
}

// await waits until these are all the lines.
func (o *told) await(t *testing.T, want ...string) {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		o.mu.Lock()
		got := slices.Clone(o.lines)
		if o.more == nil {
			o.more = make(chan struct{})
		}
		more := o.more
		o.mu.Unlock()
		switch {
		case slices.Equal(got, want):
			return
		case len(got) > len(want):
			t.Fatalf("got %q, want %q", got, want)
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestEveryApprovedJoinEndsWithLeft(t *testing.T) {
	var o told
	s := New(Config{RoomMax: 1,
		Admit: func(_ *http.Request, _, token string) (Grant, *Error) { return Grant{Subject: token}, nil },
		Approve: func(_ context.Context, j Joining) *Error {
			o.add("join " + j.Room + " " + j.Name + " " + string(j.Meta) + " " + j.Subject + " " + j.Client.String())
			switch j.Name {
			case "no":
				return &Error{Code: "webhook_denied", Message: "no", Hint: "go"}
			case "down":
				return &Error{Code: "webhook_failed", Message: "down", Hint: "wait", Temporary: true}
			}
			return nil
		},
		Left: func(j Joining, why string) { o.add("left " + j.Name + " " + why) },
	})
	url := serve(t, s)
	join := func(name, room string) *client {
		c := dial(t, url, nil)
		c.send(`{"type":"join","room":"` + room + `","name":"` + name + `","meta":{},"token":"sub"}`)
		return c
	}
	join("no", "r").refused("webhook_denied", closeDenied)
	join("down", "r").refused("webhook_failed", 1011)
	a := join("anna", "r")
	a.expect("welcome")
	join("bob", "r").refused("room_full", closeFull) // nobody is asked
	a.send(`{"type":"bye"}`)
	a.closed(closeBye)
	const by = " {} sub 127.0.0.1"
	want := []string{"join r no" + by, "join r down" + by, "join r anna" + by, "left anna bye"}
	o.await(t, want...)
	c := join("carl", "s")
	s.Kick("s", c.expect("welcome")["peer"].(string), "")
	o.await(t, append(want, "join s carl"+by, "left carl kicked")...)
}

// While the backend thinks, others join, and what they send arrives. A server that
// shuts down does not wait for it.
func TestASlowApprovalDelaysNobodyElse(t *testing.T) {
	cfg := Config{Approve: func(ctx context.Context, j Joining) *Error {
		if j.Name != "slow" {
			return nil
		}
		select {
		case <-ctx.Done():
			return &Error{Code: "webhook_failed", Message: "cut", Hint: "wait", Temporary: true}
		case <-time.After(time.Hour):
			return nil
		}
	}}
	bubble(t, cfg, func(t *testing.T, s *Server, p pipes) {
		start := time.Now()
		slow := pipeDial(t, p, false)
		if err := slow.Write(t.Context(), websocket.MessageText, []byte(`{"type":"join","room":"r","name":"slow"}`)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a, b := pipeDial(t, p, true), pipeDial(t, p, true)
		if m, _, _ := read(t, a, start); m["type"] != "peer-joined" {
			t.Errorf("got %v", m)
		}
		if err := a.Write(t.Context(), websocket.MessageText, []byte(`{"type":"message","peer":"*","data":1}`)); err != nil {
			t.Fatal(err)
		}
		if m, _, at := read(t, b, start); m["type"] != "message" || at != 0 {
			t.Errorf("got %v after %v, want the message at once", m, at)
		}
		down := time.Now()
		if err := s.Shutdown(context.Background()); err != nil || time.Since(down) > 2*closeGrace {
			t.Errorf("shutting down: got %v after %v", err, time.Since(down))
		}
	})
}
