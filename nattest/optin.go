package nattest

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/stun/v3"
)

// ground is where opt-in tests of one family take place.
type ground struct {
	c       *Config
	network string
	family  *Family
	local   netip.Addr
	server  netip.AddrPort // the endpoint that answers fastest
	token   *token
}

// optIn runs the tests that were asked for, on each family that was judged.
// Strangers are endpoints of other servers, which owe this probe nothing.
func (c *Config) optIn(ctx context.Context, r *Report, strangers []netip.AddrPort, t *token) {
	var wg sync.WaitGroup
	for network, f := range map[string]*Family{"udp4": &r.V4, "udp6": &r.V6} {
		g := ground{c: c, network: network, family: f, token: t}
		why := "the server answers nothing over UDP"
		if f.UDP == NotTested {
			why = f.Why
		}
		for _, e := range f.Endpoints {
			if e.Answered > 0 && !slices.Contains(strangers, e.Endpoint) && (!g.server.IsValid() || e.RTTMS < g.rtt(g.server)) {
				g.server, g.local, why = e.Endpoint, f.Trials[0].Local.Addr(), ""
			}
		}
		wg.Go(func() { g.run(ctx, why) })
	}
	wg.Wait()
	for _, f := range []*Family{&r.V4, &r.V6} {
		caveats := f.Lifetime.caveats()
		f.Verdict.Caveats = append(f.Verdict.Caveats, caveats...)
		if f == r.decisive() {
			r.Verdict.Caveats = append(r.Verdict.Caveats, caveats...)
		}
	}
}

// run runs the tests of one family, or says of each why it cannot.
func (g *ground) run(ctx context.Context, why string) {
	var wg sync.WaitGroup
	if g.c.Hairpin {
		wg.Go(func() { g.family.Hairpin = g.hairpin(ctx, why) })
	}
	if g.c.Fragments {
		wg.Go(func() { g.family.Fragments = g.fragments(ctx, why) })
	}
	if g.c.ALG {
		wg.Go(func() { g.family.ALG = g.alg(ctx, why) })
	}
	wg.Wait() // some firewalls forget their sessions when they see hairpinning
	if g.c.Lifetime > 0 {
		g.family.Lifetime = g.lifetime(ctx, why)
	}
}

// rtt is the round trip to an endpoint in milliseconds.
func (g *ground) rtt(ep netip.AddrPort) float64 {
	for _, e := range g.family.Endpoints {
		if e.Endpoint == ep {
			return e.RTTMS
		}
	}
	return 0
}

// sockets opens n fresh ones for a test, unless something is known that keeps it
// from being made, or says why it cannot.
func (g *ground) sockets(ctx context.Context, test, known string, n int) (socks []net.PacketConn, why string) {
	if known != "" {
		return nil, known
	}
	g.c.Progress(test)
	for range n {
		s, err := g.c.ListenPacket(ctx, g.network, net.JoinHostPort(g.local.String(), "0"))
		if err != nil {
			for _, s := range socks {
				s.Close()
			}
			return nil, "no UDP socket could be opened: " + plain(err)
		}
		socks = append(socks, s)
	}
	return socks, ""
}

// request shows the server's token, if it gave one.
func (g *ground) request(set ...stun.Setter) *stun.Message {
	head := []stun.Setter{stun.TransactionID, stun.BindingRequest}
	if raw := g.token.current(); len(raw) > 0 {
		head = append(head, stun.RawAttribute{Type: attrToken, Value: raw})
	}
	return stun.MustBuild(append(head, set...)...)
}

// token is the server's proof that a probe is its own (NATTEST-TOKEN). It is
// good for two minutes, which a test of lifetimes outlives.
type token struct {
	mu    sync.Mutex
	raw   []byte
	fetch func(context.Context) []byte // a fresh one, nil if there is none
}

// tokenOf is the token that the server's document has.
func (c *Config) tokenOf(f facts) *token {
	return &token{raw: f.doc.token, fetch: func(ctx context.Context) []byte {
		if f.base == "" || f.doc.token == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, body, err := c.get(ctx, f.base+"/nattest.json", "")
		if err != nil {
			return nil
		}
		return parseNattest(body).token
	}}
}

// current returns the token, nil if there is none.
func (t *token) current() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.raw
}

// refresh fetches a fresh one, if it can.
func (t *token) refresh(ctx context.Context) {
	if raw := t.fetch(ctx); raw != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.raw = raw
	}
}

// keep keeps it fresh until ctx ends.
func (t *token) keep(ctx context.Context) {
	tick := time.NewTicker(45 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.refresh(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// inTurn makes a function of tell that may be called by several goroutines.
func inTurn(tell func(string)) func(string) {
	if tell == nil {
		return func(string) {}
	}
	var mu sync.Mutex
	return func(what string) {
		mu.Lock()
		defer mu.Unlock()
		tell(what)
	}
}
