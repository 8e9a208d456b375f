package signal

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// breaker makes connections that can be cut, and cuts them by itself after a
// random number of reads and writes.
type breaker struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu    sync.Mutex
	left  int // cuts
	conns []net.Conn
}

func (b *breaker) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := b.dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.conns = append(b.conns, c)
			f := &fragile{Conn: c, lasts: 1 << 30}
			if b.left > 0 {
				b.left--
				f.lasts = 2 + rand.N(60)
			}
			return f, nil
		}}}
}

// cut breaks every connection that there is.
func (b *breaker) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		_ = c.Close()
	}
	b.conns = nil
}

type fragile struct {
	net.Conn
	mu    sync.Mutex
	lasts int
}

func (f *fragile) use() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lasts--; f.lasts == 0 {
		_ = f.Conn.Close()
	}
}

func (f *fragile) Read(p []byte) (int, error)  { f.use(); return f.Conn.Read(p) }
func (f *fragile) Write(p []byte) (int, error) { f.use(); return f.Conn.Write(p) }

func loopback() *breaker { return &breaker{dial: (&net.Dialer{}).DialContext} }

func inMemory(p pipes) *breaker {
	return &breaker{dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		p <- far
		return near, nil
	}}
}

// expectEvent returns the next event, which has to be of that type.
func expectEvent(t *testing.T, c *Client, kind string) Event {
	t.Helper()
	e, ok := <-c.Events()
	if !ok || e.Type != kind {
		t.Fatalf("got %s, %v, %v, want %s", e.Raw, ok, c.Err(), kind)
	}
	return e
}

// Two clients on real sockets exchange messages while each of their sockets
// breaks after a few reads and writes, twenty times: each gets all, in order.
func TestClientsLoseNothing(t *testing.T) {
	url := serve(t, New(Config{Admit: admitAll}))
	const messages, cuts = 180, 20 // fewer than may come at once
	var clients [2]*Client
	var ids [2]string
	for i := range clients {
		b := loopback()
		var err error
		if clients[i], err = Enter(t.Context(), url, "demo", ClientOptions{HTTP: b.client()}); err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		b.left = cuts
		b.mu.Unlock()
		b.cut()
		ids[i] = expectEvent(t, clients[i], "welcome").Peer
	}
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			for n := range messages {
				if _, err := c.Send(Note, ids[1-i], map[string]any{"data": n}); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			var got []int
			for e := range c.Events() {
				if e.Type == "error" {
					t.Errorf("client %d: got %s", i, e.Raw)
				}
				if e.Type != "message" {
					continue
				}
				var n int
				if err := json.Unmarshal(e.Data, &n); err != nil {
					t.Error(err)
				}
				if got = append(got, n); len(got) == messages {
					break
				}
			}
			if len(got) != messages || !slices.IsSorted(got) || got[0] != 0 || got[messages-1] != messages-1 {
				t.Errorf("client %d: got %d messages: %v, %v", i, len(got), got, c.Err())
			}
		})
	}
	wg.Wait()
	for _, c := range clients {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What has piled up while there was no socket goes out no faster than the server
// lets it, and all of it arrives.
func TestClientsKeepToTheRate(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, _ *Server, p pipes) {
		b := inMemory(p)
		a, err := Enter(t.Context(), "ws://pipe/v1/ws", "demo", ClientOptions{HTTP: b.client()})
		if err != nil {
			t.Fatal(err)
		}
		other, err := Enter(t.Context(), "ws://pipe/v1/ws", "demo", ClientOptions{HTTP: inMemory(p).client()})
		if err != nil {
			t.Fatal(err)
		}
		expectEvent(t, a, "welcome")
		to := expectEvent(t, other, "welcome").Peer
		expectEvent(t, a, "peer-joined")
		b.cut()
		const messages = 3 * messageBurst
		for n := range messages {
			if _, err := a.Send(Note, to, map[string]any{"data": n}); err != nil {
				t.Fatal(err)
			}
		}
		for n := 0; n < messages; {
			e, ok := <-other.Events()
			switch {
			case !ok || e.Type == "peer-left":
				t.Fatalf("got %s after %d messages", e.Raw, n)
			case e.Type == "message" && string(e.Data) != strconv.Itoa(n):
				t.Fatalf("got %s, want %d", e.Data, n)
			case e.Type == "message":
				n++
			}
		}
		_, _ = a.Close(), other.Close()
	})
}

func TestAwayBackAndGone(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, s *Server, p pipes) {
		anna, b := inMemory(p), inMemory(p)
		a, err := Enter(t.Context(), "ws://pipe/v1/ws", "demo", ClientOptions{HTTP: anna.client()})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		ctx, vanish := context.WithCancel(t.Context())
		bob, err := Enter(ctx, "ws://pipe/v1/ws", "demo", ClientOptions{HTTP: b.client(), Name: "Bob", Meta: map[string]int{"x": 1}})
		if err != nil {
			t.Fatal(err)
		}
		expectEvent(t, a, "welcome")
		if e := expectEvent(t, a, "peer-joined"); e.Name != "Bob" || string(e.Meta) != `{"x":1}` {
			t.Errorf("got %s, want Bob and his meta", e.Raw)
		}
		id := expectEvent(t, bob, "welcome").Peer
		b.cut()
		expectEvent(t, a, "peer-away")
		if _, err := a.Send(Note, id, map[string]any{"data": "while you were away"}); err != nil {
			t.Fatal(err)
		}
		expectEvent(t, a, "peer-back")
		expectEvent(t, bob, "resumed")
		if e := expectEvent(t, bob, "message"); string(e.Data) != `"while you were away"` {
			t.Errorf("got %s, want what was sent while he was away", e.Raw)
		}
		// He vanishes without a word: the server learns it from the pings.
		b.dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
		b.cut()
		vanish()
		gone := time.Now()
		expectEvent(t, a, "peer-away")
		number, err := a.Send(Note, id, map[string]any{"data": "are you there?"})
		if err != nil {
			t.Fatal(err)
		}
		if e := expectEvent(t, a, "error"); e.Code != "not_delivered" || e.Re != number || time.Since(gone) != resumeWindow {
			t.Errorf("got %s after %v, want not_delivered for request %d after %v", e.Raw, time.Since(gone), number, resumeWindow)
		}
		if e := expectEvent(t, a, "peer-left"); e.Reason != string(leftTimeout) {
			t.Errorf("got %s, want peer-left with timeout", e.Raw)
		}
		for range bob.Events() {
		}
		if bob.Err() != context.Canceled {
			t.Errorf("got %v, want context.Canceled", bob.Err())
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.sessions) != 1 || s.sockets != 1 {
			t.Errorf("got %d sessions and %d sockets counted, want those of Anna", len(s.sessions), s.sockets)
		}
	})
}

// The same token used twice: the newer socket has the session.
func TestNewerSocketWins(t *testing.T) {
	url := serve(t, New(Config{Admit: admitAll}))
	first := dial(t, url, nil)
	first.send(`{"type":"join","id":1,"room":"r","resume":true}`)
	token := first.expect("welcome")["resume"].(string)
	second := dial(t, url, nil)
	second.send(`{"type":"resume","resume":"` + token + `"}`)
	second.expect("resumed")
	first.closed(closeReplaced)
	other := enter(t, url, "r")
	if e := second.expect("peer-joined"); e["seq"] != 1.0 {
		t.Errorf("got %v, want number 1", e)
	}
	second.send(`{"type":"ack","seq":2}`)
	second.refused("bad_field", 0)
	second.send(`{"type":"message","id":1,"peer":"` + other.id + `","data":0}`) // the join had it
	second.send(`{"type":"message","id":5,"peer":"` + other.id + `","data":1}`)
	second.send(`{"type":"message","id":5,"peer":"` + other.id + `","data":2}`)
	second.refused("id_used", 0)
	if m := other.expect("message"); m["data"] != 1.0 {
		t.Errorf("got %v, want data 1", m)
	}
	other.send(`{"type":"ack","seq":0}`)
	other.refused("not_resumable", 0)
	_ = second.ws.Close(websocket.StatusGoingAway, "") // the page was closed
	if m := other.expect("peer-left"); m["reason"] != "closed" {
		t.Errorf("got %v, want closed", m)
	}
	third := dial(t, url, nil)
	third.send(`{"type":"resume","resume":"` + token + `"}`)
	third.refused("resume_expired", 0)
	third.send(`{"type":"join","room":"r"}`)
	third.expect("welcome")
}

func TestRestartBringsFreshServersFirst(t *testing.T) {
	url := serve(t, New(Config{Admit: admitAll}))
	a, b := enter(t, url, "r"), enter(t, url, "r")
	a.expect("peer-joined")
	b.send(`{"type":"restart","peer":"` + a.id + `"}`)
	a.expect("ice")
	if m := a.expect("restart"); m["peer"] != b.id {
		t.Errorf("got %v, want it from %s", m, b.id)
	}
	b.expect("ice")
	b.send(`{"type":"restart","peer":"p_nobody"}`)
	b.refused("peer_not_found", 0)
	a.send(`{"type":"offer-request","peer":"` + b.id + `"}`)
	b.expect("offer-request")
}

// A client that is refused says why, and does not try again.
func TestClientIsRefused(t *testing.T) {
	url := serve(t, New(Config{}))
	_, err := Enter(t.Context(), url, "r", ClientOptions{})
	var e *Error
	if !errors.As(err, &e) || e.Code != "auth_required" || e.Hint == "" {
		t.Errorf("got %v, want auth_required", err)
	}
	if _, err := Enter(t.Context(), "ws://127.0.0.1:1/v1/ws", "r", ClientOptions{}); err == nil {
		t.Error("nobody listens: got no error")
	}
}
