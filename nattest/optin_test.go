package nattest

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/vnet"

	"turnkey/stunsrv"
)

// rfc5780 is a lab whose server has two addresses.
func rfc5780(nat *vnet.NATType) *lab {
	return &lab{nat: nat, addrs: []string{serverA, serverB}}
}

func TestOptInTestsAreNotRunUnasked(t *testing.T) {
	l := rfc5780(&vnet.NATType{})
	l.run(t, func(t *testing.T, c Config) {
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range []string{r.V4.Hairpin.State, r.V4.Lifetime.State, r.V4.Fragments.State, r.V4.ALG.State} {
			if state != NotTested {
				t.Errorf("got %s, want %s", state, NotTested)
			}
		}
	})
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

func TestOptInTestsSayWhyNot(t *testing.T) {
	honest := func(pc net.PacketConn, from net.Addr, req *stun.Message) {
		pc.WriteTo(binding(req.TransactionID, from).Raw, from)
	}
	refusing := func(pc net.PacketConn, from net.Addr, req *stun.Message) {
		var site stunsrv.Site // one address, no token
		site[0] = addrPort(pc.LocalAddr())
		pc.WriteTo(stunsrv.Respond(nil, req.Raw, addrPort(from), &site, nil).Message, from)
	}
	for name, tt := range map[string]struct {
		lab
		lifetime, fragments, hairpin string // parts of the reasons
	}{
		"no NAT":      {lab{answer: honest, noHTTP: true}, "did not arrive even at once", "no long answers", "there is no NAT"},
		"one address": {lab{answer: refusing, noHTTP: true, nat: &vnet.NATType{}}, "RESPONSE-PORT: error 420", "no long answers", ""},
		"blocked":     {lab{filter: func(vnet.Chunk) bool { return false }, noTCP: true}, "answers nothing", "answers nothing", "answers nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.lab.run(t, func(t *testing.T, c Config) {
				c.Lifetime, c.Fragments, c.Hairpin = 10*time.Second, true, true
				r, err := Run(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				for what, want := range map[[2]string]string{
					{r.V4.Lifetime.State, r.V4.Lifetime.Why}: tt.lifetime, {r.V4.Fragments.State, r.V4.Fragments.Why}: tt.fragments,
					{r.V4.Hairpin.State, r.V4.Hairpin.Why}: tt.hairpin,
				} {
					if want != "" && (!strings.Contains(what[1], want) || what[0] != NotTested && what[0] != Unknown) {
						t.Errorf("got %q, want it not tested or unknown, for %q", what, want)
					}
				}
			})
		})
	}
}

func TestOnlyItsOwnAnswersCount(t *testing.T) {
	request := requests()
	honest := answeredAt(packet{raw: request.Raw}, outer)
	other := stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw
	for name, tt := range map[string]struct {
		raw  []byte
		from netip.AddrPort
		peer bool
		want bool
	}{
		"the answer":                      {honest, ep1, false, true},
		"another port's":                  {honest, ep2, false, false},
		"another transaction's":           {other, ep1, false, false},
		"the request itself":              {request.Raw, ep1, false, false},
		"noise":                           {[]byte("noise"), ep1, false, false},
		"from a peer, the request":        {request.Raw, outer, true, true},
		"from a peer, what is no request": {honest, outer, true, false},
	} {
		var a asks
		k := a.add(request, 0, ep1, began, 0)
		k.peer = tt.peer
		if got, _ := a.hear(tt.raw, tt.from, 0, began); got != nil {
			t.Errorf("%s: heard before anything was sent", name)
		}
		a.next(began)
		if got, _ := a.hear(tt.raw, tt.from, 0, began); (got != nil) != tt.want || len(k.heard) > 0 != tt.want {
			t.Errorf("%s: got it heard %t, want %t", name, got != nil, tt.want)
		}
	}
}

// requests builds Binding requests without a token.
func requests(set ...stun.Setter) *stun.Message {
	return stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, set...)...)
}

// perform runs a machine on a fake clock. path is what becomes of each packet: the
// datagrams that come in, at which socket and from where, a millisecond later.
func perform(t *testing.T, m machine, path func(k packet, now time.Time) []arrival) time.Duration {
	t.Helper()
	now := began
	for range 10000 {
		out, wake, over := m.next(now)
		for _, k := range out {
			for _, a := range path(k, now) {
				m.receive(a.raw, a.from, a.socket, now.Add(time.Millisecond))
			}
		}
		if len(out) > 0 {
			continue // what came in may have made more due
		}
		if over {
			return now.Sub(began)
		}
		if !wake.After(now) {
			t.Fatalf("got wake %s at %s, want a later one", wake, now)
		}
		now = wake
	}
	t.Fatal("the machine does not end")
	return 0
}

// answered is what a server with two addresses answers to a packet that reaches
// it from mapped.
func answeredAt(k packet, mapped netip.AddrPort) []byte {
	site := stunsrv.Site{ep1, ep2, netip.MustParseAddrPort("203.0.113.11:3478"), netip.MustParseAddrPort("203.0.113.11:3479")}
	return stunsrv.Respond(nil, k.raw, mapped, &site, nil).Message
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

// whoAnswers is an HTTP client's way to a server, in a test.
type whoAnswers func(*http.Request) (*http.Response, error)

func (w whoAnswers) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

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
