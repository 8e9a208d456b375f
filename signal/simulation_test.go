package signal

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/time/rate"
)

// simulation is a server and clients on a network that breaks, without sockets: what
// is under way is kept in queues. Chance decides what happens next.
type simulation struct {
	t       *testing.T
	rng     *rand.Rand
	srv     *Server
	clients []*simulated
	left    []*line // that clients have given up, and the server perhaps not yet
	sockets int
}

// simulated is a client: its link, and the program that uses it.
type simulated struct {
	name string
	link *link
	line *line
	in   bool // over this line
	app  interface{ handle(Event) }

	// A careless client says that it has less than it has, and sends again what was
	// handled: it relies on the other side to drop it.
	careless int64 // 1 or 0
	floor    int64 // what the server has been told, and need not keep
}

// line is one socket, from both ends.
type line struct {
	srv *Server
	*conn
	up [][]byte // sent and not arrived
}

type nowhere struct{ net.Conn }

func (nowhere) Close() error { return nil }

func newSimulation(t *testing.T, seed uint64) *simulation {
	w := &simulation{t: t, rng: rand.New(rand.NewPCG(seed, 3))}
	w.start()
	return w
}

// start brings up a server that knows nothing of one before.
func (w *simulation) start() {
	w.srv = New(Config{Admit: admitAll})
}

// pass lets time pass, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// stop kills the server without a word. Its clocks have to stop as well.
func (w *simulation) stop() {
	for _, c := range w.clients {
		w.abandon(c)
	}
	for _, l := range w.left {
		l.end(ending{})
	}
	w.left = nil
	pass(quietAfter + time.Second)
	if err := w.srv.Shutdown(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// runs is how many a property is tried for.
func runs(short, long uint64) uint64 {
	if os.Getenv("LONG") != "" {
		return long
	}
	return short
}

func (w *simulation) add(name string) *simulated {
	c := &simulated{name: name, link: newLink(), careless: int64(w.rng.IntN(2))}
	w.clients = append(w.clients, c)
	return c
}

// abandon cuts a client's line. What is under way from it may arrive later, for all
// that a proxy does, or never; and the server may learn of the cut now or later.
func (w *simulation) abandon(c *simulated) {
	if c.line == nil {
		return
	}
	if w.rng.IntN(2) == 0 {
		c.line.up = nil
	}
	w.left = append(w.left, c.line)
	c.line, c.in = nil, false
	if w.rng.IntN(2) == 0 {
		w.notice(len(w.left) - 1)
	}
}

// notice lets the server learn that a line is cut.
func (w *simulation) notice(i int) {
	l := w.left[i]
	w.left = append(w.left[:i], w.left[i+1:]...)
	l.fail(lost(ending{why: leftClosed}))
	l.srv.untrack(l.conn)
	l.timer.Stop()
	l.reaper.Stop()
}

// connect gives a client a new line.
func (w *simulation) connect(c *simulated) {
	w.abandon(c)
	pass(time.Millisecond) // no two are accepted at the same time
	w.sockets++
	l := &line{srv: w.srv, conn: &conn{id: fmt.Sprint("p", w.sockets), at: time.Now(), srv: w.srv, nc: nowhere{},
		out: newQueue(), rate: rate.NewLimiter(rate.Inf, 0), req: httptest.NewRequest("GET", "/v1/ws", nil)}}
	l.timer = time.AfterFunc(joinTimeout, l.alarm)
	c.line = l
	w.greet(c)
}

func (w *simulation) greet(c *simulated) {
	l := *c.link
	if l.token == "" {
		c.floor = 0
	} else {
		// It does not go back behind what it has said before, in a resume or in an ack.
		c.floor = max(c.floor, l.seq-int64(l.unack))
		l.seq = max(c.floor, l.seq-int64(w.rng.IntN(3))*c.careless)
		c.floor = l.seq
	}
	c.line.up = append(c.line.up, l.greeting(map[string]any{"type": Join, "room": "r", "resume": true, "name": c.name}))
}

// send sends a request, now or when the client is in again. It reports false if
// the client holds too much already.
func (c *simulated) send(kind Type, peer string, members map[string]any) (int64, bool) {
	r, err := c.link.request(kind, peer, members)
	if err != nil {
		return 0, false
	}
	if c.in {
		c.link.wrote()
		c.line.up = append(c.line.up, r.frame)
	}
	return r.id, true
}

// arrive lets the oldest message on a line reach the server.
func (w *simulation) arrive(l *line) bool {
	if l == nil || len(l.up) == 0 {
		return false
	}
	frame := l.up[0]
	l.up = l.up[1:]
	if l.ended.Load() || l.srv != w.srv {
		return true
	}
	if e := l.receive(ws.OpText, frame, nil); e != nil && e.status == 0 {
		l.answer(e)
	} else if e != nil {
		l.fail(failure(leftKicked, e))
	}
	w.noGhost()
	return true
}

// noGhost fails if anybody is in the room twice.
func (w *simulation) noGhost() {
	h := w.srv.hub("r")
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := map[string]bool{}
	for _, p := range h.room.peers {
		if seen[p.name] {
			w.t.Fatalf("%s is in the room twice: %+v", p.name, h.room.peers)
		}
		seen[p.name] = true
	}
}

// read lets the server write one message to a client.
func (w *simulation) read(c *simulated) bool {
	if c.line == nil {
		return false
	}
	frame, end := c.line.nextFrame(new(batch))
	if frame == nil && !end {
		return false
	}
	if frame != nil {
		w.take(c, frame)
	}
	if end {
		if c.line.ending.status == closeReplaced {
			w.t.Fatalf("the newest line of %s was replaced", c.name)
		}
		w.connect(c)
	}
	return true
}

func (w *simulation) take(c *simulated, frame []byte) {
	e, err := parseEvent(append([]byte(nil), frame...))
	if err != nil {
		w.t.Fatal(err)
	}
	if e.Code == "resume_expired" {
		c.link.expired(e.lastID)
		w.greet(c)
		return
	}
	if e.Code == "join_timeout" { // it tries again
		return
	}
	if e.Type == "resumed" && c.careless == 1 {
		e.lastID = 0
	}
	fresh, send, err := c.link.take(e)
	if err != nil {
		w.t.Fatalf("%s: %v", c.name, err)
	}
	for _, r := range c.link.lost {
		c.app.handle(Event{Type: "error", Code: "not_delivered", Re: r.id})
	}
	c.link.lost = nil
	c.in = c.in || e.Type == "welcome" || e.Type == "resumed"
	c.line.up = append(c.line.up, send...)
	if fresh {
		c.app.handle(e)
	}
}

// settle lets everything arrive on a network that holds from here on.
func (w *simulation) settle() {
	for len(w.left) > 0 {
		w.notice(0)
	}
	for busy := true; busy; {
		busy = false
		for _, c := range w.clients {
			if c.line == nil {
				w.connect(c)
			}
			busy = w.read(c) || w.arrive(c.line) || busy
		}
	}
}

func number(t *testing.T, e Event) (n int) {
	if err := json.Unmarshal(e.Data, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
