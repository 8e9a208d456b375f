package nattest

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/vnet"
)

// timers is a NAT with two timers in front of the sockets of a lifetime test.
type timers struct {
	once, stream time.Duration
	first, last  map[int]time.Time // use of each socket's mapping
	reuse        bool              // the port of a mapping that is gone becomes the next socket's
	moves        bool              // socket 0 has another public address
	deaf         time.Duration     // from then on requests of socket 0 are lost
}

func (n *timers) pass(k packet, now time.Time) []arrival {
	at := outside(k.socket)
	if n.moves && k.socket == 0 {
		at = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.2"), at.Port())
	}
	if n.deaf > 0 && k.socket == 0 && now.Sub(began) > n.deaf {
		return nil
	}
	m := &stun.Message{Raw: k.raw}
	ok(m.Decode())
	answer := arrival{raw: answeredAt(k, at), from: ep1, socket: k.socket}
	port, err := m.Get(stun.AttrResponsePort)
	if err != nil {
		if n.first[k.socket].IsZero() {
			n.first[k.socket] = now
		}
		n.last[k.socket] = now
		return []arrival{answer}
	}
	answer.socket = int(port[0])<<8 + int(port[1]) - int(outside(0).Port())
	life := n.once
	if n.last[answer.socket].Sub(n.first[answer.socket]) > 2*time.Second {
		life = n.stream
	}
	if now.Sub(n.last[answer.socket]) > life {
		answer.socket++
		if !n.reuse {
			return nil
		}
	}
	return []arrival{answer}
}

func TestLifetimeTellsTheTimersApart(t *testing.T) {
	for name, tt := range map[string]struct {
		nat          timers
		state        string
		once, stream Timer
	}{
		"two timers":               {timers{once: 30 * time.Second, stream: 2 * time.Minute}, "measured", Timer{Alive: 29, Dead: 32.6}, Timer{Alive: 118, Dead: 124.6}},
		"ports are used again":     {timers{once: 30 * time.Second, stream: 2 * time.Minute, reuse: true}, "measured", Timer{Alive: 29, Dead: 32.6}, Timer{Alive: 118, Dead: 124.6}},
		"less than the first rung": {timers{once: time.Second, stream: time.Hour}, "measured", Timer{Dead: 2.6}, Timer{Alive: 150}},
		"another public address":   {timers{once: 30 * time.Second, stream: time.Hour, moves: true}, "measured", Timer{Alive: 29}, Timer{Alive: 150}},
		"the server falls silent":  {timers{once: time.Hour, stream: time.Hour, deaf: 30 * time.Second}, "measured", Timer{Alive: 29}, Timer{Alive: 25}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.nat.first, tt.nat.last = map[int]time.Time{}, map[int]time.Time{}
			m := newLifetime(began, ep1, 150*time.Second, requests, func(string) {})
			took := perform(t, m, tt.nat.pass)
			got := m.conclude()
			if got.State != tt.state || got.OneShot != tt.once || got.Stream != tt.stream {
				t.Errorf("got %+v, want %s, %+v and %+v", got, tt.state, tt.once, tt.stream)
			}
			if took > 160*time.Second {
				t.Errorf("took %s, want little more than 150 s", took)
			}
		})
	}
}

func TestLifetimeIsMeasured(t *testing.T) {
	apdm := vnet.NATType{MappingBehavior: vnet.EndpointAddrPortDependent, FilteringBehavior: vnet.EndpointAddrPortDependent}
	for name, tt := range map[string]struct {
		nat       vnet.NATType
		lifetime  time.Duration
		limit     time.Duration
		alive, by float64 // by: gone at the latest after
	}{
		"30 s":             {lifetime: 30 * time.Second, limit: 150 * time.Second, alive: 29, by: 33},
		"2 min":            {lifetime: 2 * time.Minute, limit: 150 * time.Second, alive: 118, by: 125},
		"longer":           {lifetime: 10 * time.Minute, limit: time.Minute, alive: 60},
		"symmetric, 1 min": {nat: apdm, lifetime: time.Minute, limit: 100 * time.Second, alive: 58, by: 64},
	} {
		t.Run(name, func(t *testing.T) {
			tt.nat.MappingLifeTime = tt.lifetime
			l := rfc5780(&tt.nat)
			l.run(t, func(t *testing.T, c Config) {
				c.Lifetime = tt.limit
				start := time.Now()
				r, err := Run(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				took := time.Since(start)
				got := r.V4.Lifetime
				if got.State != "measured" || got.Limit != tt.limit.Seconds() {
					t.Fatalf("got %+v, want it measured", got)
				}
				for _, timer := range []Timer{got.OneShot, got.Stream} {
					if timer.Alive != tt.alive || timer.Dead > tt.by || (timer.Dead == 0) != (tt.by == 0) || timer.Unsteady {
						t.Errorf("got %+v, want alive after %g s and gone by %g s", timer, tt.alive, tt.by)
					}
				}
				if took > tt.limit+10*time.Second {
					t.Errorf("took %s, want little more than %s", took, tt.limit)
				}
			})
		})
	}
}

// A NAT may lose packets: an answer that is lost is not a mapping that is gone.
func TestLifetimeWithLoss(t *testing.T) {
	wrong, known := 0, 0
	for seed := range 10 {
		l := rfc5780(&vnet.NATType{MappingLifeTime: 30 * time.Second})
		lost := uint32(seed)*7919 + 1
		l.filter = func(vnet.Chunk) bool {
			lost = lost*1664525 + 1013904223
			return lost>>16%10 >= 1
		}
		l.run(t, func(t *testing.T, c Config) {
			c.Lifetime = 60 * time.Second
			r, err := Run(context.Background(), c)
			if err != nil {
				t.Fatal(err)
			}
			for _, timer := range []Timer{r.V4.Lifetime.OneShot, r.V4.Lifetime.Stream} {
				if timer.Alive > 30 || timer.Dead > 0 && timer.Dead < 30 {
					wrong++
					t.Errorf("seed %d: got %+v, want 30 s in between", seed, timer)
				}
				if timer.Alive >= 20 && timer.Dead > 0 && timer.Dead <= 51 {
					known++
				}
			}
		})
	}
	if wrong > 0 || known < 16 {
		t.Errorf("got %d wrong and %d of 20 known, want 0 and 16 at least", wrong, known)
	}
}

// With one address a server wants a token, which is good for two minutes: a
// long test has to fetch another.
func TestLifetimeOutlivesItsToken(t *testing.T) {
	l := &lab{nat: &vnet.NATType{MappingLifeTime: time.Hour}}
	l.run(t, func(t *testing.T, c Config) {
		c.Lifetime = 3 * time.Minute
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.V4.Lifetime; got.OneShot.Alive != 180 || got.Stream.Alive != 180 {
			t.Errorf("got %+v, want both timers at least 180 s", got)
		}
	})
}

// A server that takes the request for a fresh token, and no more, must not hold
// up the test for ever.
func TestLifetimeDoesNotWaitForAToken(t *testing.T) {
	l := rfc5780(&vnet.NATType{})
	l.run(t, func(t *testing.T, c Config) {
		c.Lifetime = 5 * time.Second
		through := &http.Transport{DialContext: c.DialContext, DisableKeepAlives: true}
		var mu sync.Mutex
		asked := 0
		c.HTTP = &http.Client{Transport: whoAnswers(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			if r.URL.Scheme == "http" && r.URL.Path == "/nattest.json" {
				asked++
			}
			again := asked > 1
			mu.Unlock()
			if again {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return through.RoundTrip(r)
		})}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r, err := Run(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.V4.Lifetime; got.State != "measured" || asked < 2 || r.DurationMS > 20_000 {
			t.Errorf("got %+v after %d ms and %d tokens asked for; want it measured", got, r.DurationMS, asked)
		}
	})
}

// Who is tired of waiting gets what there is, and no claim about the rest.
func TestLifetimeInterrupted(t *testing.T) {
	for after, want := range map[time.Duration]string{3 * time.Second: Unknown, 30 * time.Second: "measured"} {
		l := rfc5780(&vnet.NATType{MappingLifeTime: time.Hour})
		l.run(t, func(t *testing.T, c Config) {
			c.Lifetime = 150 * time.Second
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			r, err := Run(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			got := r.V4.Lifetime
			if got.State != want || got.Limit > after.Seconds() {
				t.Errorf("after %s: got %+v, want it %s, and nothing said of longer times", after, got, want)
			}
			if notes := strings.Join(r.Server.Notes, "; "); r.ExitCode() != 4 || !strings.Contains(notes, "interrupted") {
				t.Errorf("after %s: got exit code %d and notes %q, want 4 and that it was interrupted", after, r.ExitCode(), notes)
			}
		})
	}
}

func TestShortLifetimesAreACaveat(t *testing.T) {
	for alive, want := range map[float64]int{5: 1, 29: 0, 0: 1} {
		l := Lifetime{State: "measured", OneShot: Timer{Alive: alive, Dead: alive + 3.6}}
		if got := l.caveats(); len(got) != want {
			t.Errorf("%s: got %q, want %d", l.OneShot, got, want)
		}
	}
	if got := (Lifetime{State: "measured", OneShot: Timer{Alive: 150}}).caveats(); len(got) != 0 {
		t.Errorf("got %q for a mapping that lived on", got)
	}
}
