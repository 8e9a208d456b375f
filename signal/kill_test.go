package signal

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"
)

// mortal is a server on a real socket that can be killed: its connections are reset,
// and another server that knows nothing is at its address.
type mortal struct {
	t    *testing.T
	addr string

	mu    sync.Mutex
	http  *http.Server
	srv   *Server
	conns []*net.TCPConn
	dead  sync.WaitGroup
}

func (m *mortal) start(addr string) {
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		m.t.Error(err)
		return
	}
	m.addr, m.srv = l.Addr().String(), New(Config{Admit: admitAll})
	m.http = &http.Server{Handler: m.srv, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.conns = append(m.conns, c.(*net.TCPConn))
		return ctx
	}}
	h := m.http
	m.dead.Go(func() {
		if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			m.t.Error(err)
		}
	})
}

// kill ends the server without a word.
func (m *mortal) kill() {
	_ = m.http.Close() // the listener; the error is of connections that are cut next
	m.mu.Lock()
	for _, c := range m.conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
	m.conns = nil
	m.mu.Unlock()
	srv := m.srv
	m.dead.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			m.t.Error(err)
		}
	})
}

// Two Go clients make a call, and the server is killed at some message of it: when it
// is sent, or when it has come. They make it anew, as in the simulation.
func TestCallsSurviveARealServer(t *testing.T) {
	points := callWithKill(t, 0)
	if want := 2 * 2 * (candidatesEach + 2); points < want {
		t.Fatalf("got %d points of a call to kill the server at, want %d at least", points, want)
	}
	for point := 1; point <= points; point++ {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			callWithKill(t, point)
		})
	}
}

// callWithKill has a server killed at a point of a call, 0 = never, and returns how
// many points there were.
func callWithKill(t *testing.T, at int) (points int) {
	m := &mortal{t: t}
	m.start("127.0.0.1:0")
	var mu sync.Mutex // of what follows
	all := &calls{t: t, seed: uint64(at), who: map[string]string{}}
	done := make(chan struct{})
	point := func() {
		if points++; points == at {
			m.kill()
			m.start(m.addr)
		}
	}
	var apps []*caller
	var clients []*Client
	var readers sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		c, err := Enter(t.Context(), "ws://"+m.addr+"/v1/ws", "r", ClientOptions{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		a := &caller{calls: all, name: name, newest: map[string]int{}}
		a.send = func(kind Type, peer string, members map[string]any) (int64, bool) {
			id, err := c.Send(kind, peer, members)
			point()
			return id, err == nil
		}
		apps, clients = append(apps, a), append(clients, c)
	}
	for i, c := range clients {
		readers.Go(func() {
			for e := range c.Events() {
				mu.Lock()
				point()
				apps[i].handle(e)
				for apps[i].act() {
				}
				if points >= at && connected(apps[0], apps[1]) {
					select {
					case <-done:
					default:
						close(done)
					}
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Error("no call")
	}
	mu.Lock()
	if !t.Failed() {
		all.check(apps)
	}
	count := points
	mu.Unlock()
	for _, c := range clients {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	readers.Wait()
	m.kill()
	m.dead.Wait()
	return count
}

// When the server comes up anew, a client joins again as somebody new, with the name
// it has by now. Messages that were not written yet go out, for whom there is nobody
// the server says so, and descriptions do not.
func TestClientSurvivesARestart(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	watched := make(chan struct{}) // the second time, a watcher is there first
	up := func(l net.Listener, wait <-chan struct{}) (*Server, func()) {
		s := New(Config{Admit: func(_ *http.Request, _, token string) (Grant, *Error) {
			if wait != nil && token == "" {
				<-wait
			}
			return Grant{}, nil
		}})
		s.jitter = 0
		h := &http.Server{Handler: s}
		go func() { _ = h.Serve(l) }()
		return s, func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_ = h.Close()
			if err := s.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		}
	}
	s, down := up(l, nil)
	s.newID = func() string { return "p_client" }
	c, err := Enter(t.Context(), "ws://"+addr+"/v1/ws", "r", ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	expectEvent(t, c, "welcome")
	down()
	expectEvent(t, c, "goaway")
	for without := false; !without; runtime.Gosched() { // what is sent before may have been written
		c.mu.Lock()
		without = c.ws == nil
		c.mu.Unlock()
	}
	for _, m := range []struct {
		kind Type
		peer string
	}{{Offer, "p_other"}, {Note, "p_other"}, {Update, ""}, {Note, Everyone}} {
		if _, err := c.Send(m.kind, m.peer, map[string]any{"sdp": sdpOf(Offer, 1), "data": 1, "name": "Anna"}); err != nil {
			t.Fatal(err)
		}
	}
	if l, err = net.Listen("tcp4", addr); err != nil {
		t.Fatal(err)
	}
	_, down = up(l, watched)
	defer down()
	watcher := dial(t, "ws://"+addr+"/v1/ws", nil)
	watcher.send(`{"type":"join","room":"r","token":"watcher"}`)
	watcher.expect("welcome")
	close(watched)
	expectEvent(t, c, "welcome")
	if e := expectEvent(t, c, "error"); e.Code != "peer_not_found" || e.Re != 3 {
		t.Errorf("got %s, want that there is nobody for the message, request 3", e.Raw)
	}
	if m := watcher.expect("peer-joined"); m["name"] != "Anna" {
		t.Errorf("got %v, want her by her new name", m)
	}
	if m := watcher.expect("message"); m["data"] != 1.0 {
		t.Errorf("got %v, want what was for everybody", m)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
