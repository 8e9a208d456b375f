package signal

import (
	"testing"
	"testing/synctest"
	"time"
)

// callers adds clients that make calls.
func (w *simulation) callers(seed uint64, n int) (*calls, []*caller) {
	all := &calls{t: w.t, seed: seed, who: map[string]string{}}
	var apps []*caller
	for _, name := range []string{"a", "b", "c"}[:n] {
		c := w.add(name)
		a := &caller{calls: all, name: name, send: c.send, newest: map[string]int{}}
		c.app = a
		apps = append(apps, a)
	}
	return all, apps
}

// finish lets all calls come up, checks them, and ends.
func (w *simulation) finish(all *calls, apps []*caller) {
	for busy := true; busy; {
		w.settle()
		busy = false
		for _, a := range apps {
			for a.act() {
				busy = true
			}
		}
	}
	all.check(apps)
	w.stop()
}

// Three clients make calls with each other while their sockets break at any moment,
// and the server is killed at any moment, and another one is there that knows
// nothing. Of each description and its candidates nothing is heard but by who it is for, once, in
// order and without a gap; whatever was broken off is done anew; and in the end each
// two have a whole offer and the whole answer to it. A message arrives once at most,
// and once if the session that it was for is still there, whatever became of its sender's.
func TestCallsSurviveTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range runs(500, 30_000) {
			w := newSimulation(t, seed)
			all, apps := w.callers(seed, 2+w.rng.IntN(2))
			breaks, kills := w.rng.IntN(8), w.rng.IntN(3)
			for range 250 {
				i := w.rng.IntN(len(apps))
				a, c := apps[i], w.clients[i]
				other := apps[w.rng.IntN(len(apps))]
				switch n := w.rng.IntN(1000); {
				case n < 10*breaks || c.line == nil:
					w.connect(c)
				case n < 10*breaks+4*kills:
					w.stop()
					w.start()
				case n < 10*breaks+20 && len(w.left) > 0:
					if l := w.rng.IntN(len(w.left)); !w.arrive(w.left[l]) {
						w.notice(l)
					}
				case n < 10*breaks+25:
					w.abandon(c)
					pass(resumeWindow + time.Second)
				case n < 10*breaks+40 && a.offered[other.self] != nil:
					a.renew(other.self)
				case n < 10*breaks+60 && a.self != "" && other != a && other.self != "":
					a.say([]string{other.self, Everyone}[w.rng.IntN(2)])
				case n < 400:
					a.act()
				case n < 700:
					w.arrive(c.line)
				default:
					w.read(c)
				}
			}
			w.finish(all, apps)
		}
	})
}

// The same of two in order, one step after the other: their sockets are cut at each
// step, one of them or both, and the server is killed at none or at each.
func TestCallsSurviveAtEachStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := inOrder(t, 0, -1, -1, 0)
		if want := 2 * 2 * 2 * (candidatesEach + 2); steps < want {
			t.Fatalf("got %d steps of a call, want %d at least", steps, want)
		}
		for cut := range steps {
			for kill := -1; kill < steps; kill += int(runs(4, 1)) {
				for who := 1; who <= 3; who++ {
					inOrder(t, uint64(cut<<16|(kill+1)<<2|who), cut, kill, who)
				}
			}
		}
	})
}

// inOrder has two make a call, and returns in how many steps. The bits of who are those
// whose sockets are cut at one step, and at another the server is killed; -1 = never.
func inOrder(t *testing.T, seed uint64, cut, kill, who int) (n int) {
	w := newSimulation(t, seed)
	all, apps := w.callers(seed, 2)
	for ; n <= max(cut, kill) || !connected(apps[0], apps[1]); n++ {
		i := n / 3 % 2
		c := w.clients[i]
		for j, c := range w.clients {
			if n == cut && who>>j&1 == 1 {
				w.connect(c)
			}
		}
		if n == kill {
			w.stop()
			w.start()
		}
		switch {
		case c.line == nil:
			w.connect(c)
		case n%3 == 0:
			apps[i].act()
		case n%3 == 1:
			w.arrive(c.line)
		default:
			w.read(c)
		}
		if n > 1000 {
			t.Fatalf("cut %d at %d, killed at %d: there is no end", who, cut, kill)
		}
	}
	w.finish(all, apps)
	return n
}
