package signal

import (
	"slices"
	"testing"
	"testing/synctest"
)

// teller sends numbers to others, and notes the ones that it gets.
type teller struct {
	t     *testing.T
	self  string
	heard map[string][]int // numbers received, by sender
	told  map[string][]int // numbers sent, by receiver
}

func (a *teller) handle(e Event) {
	switch e.Type {
	case "welcome":
		if a.self != "" && a.self != e.Peer {
			a.t.Fatalf("%s is %s now", a.self, e.Peer)
		}
		a.self = e.Peer
	case "message":
		a.heard[e.Peer] = append(a.heard[e.Peer], number(a.t, e))
	case "error":
		a.t.Fatalf("%s got %s", a.self, e.Raw)
	}
}

// Three peers send to each other while their sockets break at any moment: before
// a message arrives, after it was handled, while it is written, before and after
// the server has noticed; also before the welcome came. Each receives exactly what
// was sent to it, in order, and nobody is ever there twice.
func TestSocketsMayBreakAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range runs(1000, 100_000) {
			w := newSimulation(t, seed)
			apps := map[*simulated]*teller{}
			for _, name := range []string{"a", "b", "c"} {
				c := w.add(name)
				apps[c] = &teller{t: t, heard: map[string][]int{}, told: map[string][]int{}}
				c.app = apps[c]
				w.connect(c)
			}
			breaks := 1 + w.rng.IntN(12)
			for range 160 {
				c := w.clients[w.rng.IntN(len(w.clients))]
				switch n := w.rng.IntN(100); {
				case n < breaks:
					w.connect(c)
				case n < breaks+3 && len(w.left) > 0:
					l := w.rng.IntN(len(w.left))
					if !w.arrive(w.left[l]) {
						w.notice(l)
					}
				case n < 40:
					to := apps[w.clients[w.rng.IntN(len(w.clients))]]
					if from := apps[c]; to != from && to.self != "" && from.self != "" {
						n := len(from.told[to.self]) + 1
						if _, ok := c.send(Note, to.self, map[string]any{"data": n}); ok {
							from.told[to.self] = append(from.told[to.self], n)
						}
					}
				case n < 70:
					w.arrive(c.line)
				default:
					w.read(c)
				}
			}
			w.settle()
			for _, to := range apps {
				for _, from := range apps {
					if got, want := to.heard[from.self], from.told[to.self]; !slices.Equal(got, want) {
						t.Fatalf("seed %d: %s got %v from %s, want %v", seed, to.self, got, from.self, want)
					}
				}
			}
			for _, c := range w.clients {
				if len(c.link.held) >= 2*ackEvery {
					t.Fatalf("seed %d: %s still holds %d requests", seed, c.name, len(c.link.held))
				}
			}
			if got := len(w.srv.hub("r").room.peers); got != len(w.clients) {
				t.Fatalf("seed %d: %d in the room, want %d", seed, got, len(w.clients))
			}
			w.stop()
		}
	})
}
