package signal

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// simulated is a client on a network that breaks, without sockets: its link, and
// what is under way to and from the server.
type simulated struct {
	t       *testing.T
	name    string
	link    *link
	session *session
	conn    *conn    // the server's end of the newest socket
	up      [][]byte // sent and not arrived
	joined  bool
	// careless clients say that they have less than they have, and send again what was
	// handled: they rely on the other side to drop it.
	careless int64            // 1 or 0
	floor    int64            // what the server has been told, and need not keep
	heard    map[string][]int // numbers received, by sender
	told     map[string][]int // numbers sent, by receiver
}

type simulation struct {
	t       *testing.T
	rng     *rand.Rand
	hub     *hub
	clients []*simulated
}

// connect gives a client a new socket: whatever was under way is lost, and the
// server may know or not know yet that the old one is gone.
func (w *simulation) connect(c *simulated) {
	old := c.conn
	c.conn, c.up, c.joined = &conn{out: newQueue(), timer: time.NewTimer(time.Hour)}, nil, false
	if old != nil && w.rng.IntN(2) == 0 {
		w.hub.lose(c.session, old, ending{why: leftClosed, mayReturn: true}, func() {})
	}
	hello := c.link.greeting(map[string]any{"type": Join, "room": "r", "resume": true})
	m, err := Decode(hello)
	if err != nil {
		w.t.Fatal(err)
	}
	if m.Type == Join {
		c.session = &session{id: c.name, hub: w.hub}
		c.session.out.keeps = true
		if err := w.hub.join(c.session, c.conn, m, "r_"+c.name, issued{Servers: json.RawMessage("[]")}); err != nil {
			w.t.Fatal(err)
		}
		c.floor = 0
		return
	}
	// It does not go back behind what it has said before, in a resume or in an ack.
	c.floor = max(c.floor, c.link.seq-int64(c.link.unack))
	m.Seq = max(c.floor, m.Seq-int64(w.rng.IntN(3))*c.careless)
	c.floor = m.Seq
	if _, ok := w.hub.resume(c.session, c.conn, m, issued{Servers: json.RawMessage("[]")}); !ok {
		w.t.Fatalf("%s cannot resume after %d", c.name, m.Seq)
	}
	if old != nil && w.rng.IntN(2) == 0 { // only now
		w.hub.lose(c.session, old, ending{why: leftClosed, mayReturn: true}, func() {})
	}
}

// send sends a numbered message to another client or to all.
func (w *simulation) send(c *simulated) {
	to := w.clients[w.rng.IntN(len(w.clients))]
	if to == c || !to.joined {
		return
	}
	n := len(c.told[to.name]) + 1
	r, err := c.link.request(Note, to.name, map[string]any{"data": n})
	if err != nil {
		return // it holds too much already
	}
	c.told[to.name] = append(c.told[to.name], n)
	c.up = append(c.up, r.frame)
}

// arrive lets the oldest message of a client reach the server.
func (w *simulation) arrive(c *simulated) bool {
	if len(c.up) == 0 {
		return false
	}
	frame := c.up[0]
	c.up = c.up[1:]
	m, err := Decode(frame)
	if err == nil && m.Type == Ack {
		if !c.session.out.ack(m.Seq) {
			w.t.Fatalf("%s acknowledged %d, which the server does not know", c.name, m.Seq)
		}
	} else if err == nil {
		err = w.hub.receive(c.session, c.conn, m)
	}
	if err != nil {
		w.t.Fatalf("%s sent %s: %v", c.name, frame, err)
	}
	return true
}

// read lets the server write one message to a client.
func (w *simulation) read(c *simulated) bool {
	frame := c.conn.out.pop()
	if frame == nil {
		frame = c.session.out.pop(c.conn, nil)
	}
	if frame == nil {
		return false
	}
	e, err := parseEvent(slices.Clone(frame))
	if err != nil {
		w.t.Fatal(err)
	}
	if e.Type == "resumed" && c.careless == 1 {
		e.lastID = 0
	}
	fresh, send, err := c.link.take(e)
	if err != nil {
		w.t.Fatalf("%s: %v", c.name, err)
	}
	if e.Type == "welcome" || e.Type == "resumed" {
		c.up, c.joined = nil, true
	}
	c.up = append(c.up, send...)
	if fresh && e.Type == "message" {
		var n int
		if err := json.Unmarshal(e.Data, &n); err != nil {
			w.t.Fatal(err)
		}
		c.heard[e.Peer] = append(c.heard[e.Peer], n)
	}
	return true
}

// Three peers send to each other while their sockets break at any moment: before
// a message arrives, after it was handled, while it is written, before and after
// the server has noticed. Each receives exactly what was sent to it, in order.
func TestSocketsMayBreakAnywhere(t *testing.T) {
	runs := uint64(1000)
	if os.Getenv("LONG") != "" {
		runs = 100_000
	}
	synctest.Test(t, func(t *testing.T) {
		for seed := range runs {
			w := &simulation{t: t, rng: rand.New(rand.NewPCG(seed, 3)), hub: &hub{room: room{name: "r", max: 8}, sessions: map[string]*session{}}}
			for _, name := range []string{"a", "b", "c"} {
				c := &simulated{t: t, name: name, link: newLink(), heard: map[string][]int{}, told: map[string][]int{}}
				c.careless = int64(w.rng.IntN(2))
				w.clients = append(w.clients, c)
				w.connect(c)
			}
			breaks := 1 + w.rng.IntN(12)
			for range 160 {
				c := w.clients[w.rng.IntN(len(w.clients))]
				switch n := w.rng.IntN(100); {
				case n < breaks:
					w.connect(c)
				case !c.joined:
					w.read(c)
				case n < 40:
					w.send(c)
				case n < 70:
					w.arrive(c)
				default:
					w.read(c)
				}
			}
			for busy := true; busy; { // the network holds from here on
				busy = false
				for _, c := range w.clients {
					busy = w.read(c) || w.arrive(c) || busy
				}
			}
			for _, c := range w.clients {
				for _, from := range w.clients {
					if got, want := c.heard[from.name], from.told[c.name]; !slices.Equal(got, want) {
						t.Fatalf("seed %d: %s got %v from %s, want %v", seed, c.name, got, from.name, want)
					}
				}
				if c.session.reaper != nil {
					c.session.reaper.Stop()
				}
				if len(c.link.held) >= 2*ackEvery {
					t.Fatalf("seed %d: %s still holds %d requests", seed, c.name, len(c.link.held))
				}
			}
		}
	})
}
