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

// ask is one STUN transaction of an opt-in test: a request that one socket
// repeats until it is done with, and what was heard of it at any socket.
type ask struct {
	packet
	id    [stun.TransactionIDSize]byte
	at    []time.Time   // when to send it
	wait  time.Duration // how long to listen after the last time
	peer  bool          // it goes to a socket of the test itself
	sends int
	heard []hearing
	done  bool // no more is sent, and nothing waited for
}

// hearing is a message with the transaction id of an ask: an answer from where
// the request was sent, or, where that was a peer, the request itself.
type hearing struct {
	socket  int
	from    netip.AddrPort
	at      time.Time
	message *stun.Message
}

// maxHeard bounds what is kept of one transaction.
const maxHeard = 8

// first returns the first answer of a class, at whatever socket.
func (k *ask) first(class stun.MessageClass) (hearing, bool) {
	i := slices.IndexFunc(k.heard, func(h hearing) bool { return h.message.Type.Class == class })
	if i < 0 {
		return hearing{}, false
	}
	return k.heard[i], true
}

// refusal is the code of the first error answer, 0 without one.
func (k *ask) refusal() int {
	h, ok := k.first(stun.ClassErrorResponse)
	var code stun.ErrorCodeAttribute
	if !ok || code.GetFrom(h.message) != nil {
		return 0
	}
	return int(code.Code)
}

// mapped is the address in the success answer that came to the asking socket.
func (k *ask) mapped() (netip.AddrPort, bool) {
	h, ok := k.first(stun.ClassSuccessResponse)
	if !ok || h.socket != k.socket {
		return netip.AddrPort{}, false
	}
	return xorAddr(h.message, stun.AttrXORMappedAddress)
}

// asks is a machine that sends requests at their times.
type asks struct {
	all  []*ask
	byID map[[stun.TransactionIDSize]byte]*ask
}

// add sends m from a socket at start and at the given times after it.
func (a *asks) add(m *stun.Message, socket int, to netip.AddrPort, start time.Time, after ...time.Duration) *ask {
	k := &ask{packet: packet{socket, to, m.Raw}, id: m.TransactionID, wait: lastWait}
	for _, d := range after {
		k.at = append(k.at, start.Add(d))
	}
	if a.byID == nil {
		a.byID = map[[stun.TransactionIDSize]byte]*ask{}
	}
	a.all, a.byID[k.id] = append(a.all, k), k
	return k
}

func (a *asks) next(now time.Time) (out []packet, wake time.Time, over bool) {
	over = true
	for _, k := range a.all {
		if k.done {
			continue
		}
		if k.sends < len(k.at) && !now.Before(k.at[k.sends]) {
			// One packet, however late the caller is.
			for k.sends < len(k.at) && !now.Before(k.at[k.sends]) {
				k.sends++
			}
			out = append(out, k.packet)
		}
		due := k.at[len(k.at)-1].Add(k.wait)
		if k.sends < len(k.at) {
			due = k.at[k.sends]
		} else if !now.Before(due) {
			k.done = true
			continue
		}
		over = false
		if wake.IsZero() || due.Before(wake) {
			wake = due
		}
	}
	return out, wake, over
}

// hear takes a datagram and returns the transaction it belongs to, or nil.
func (a *asks) hear(raw []byte, from netip.AddrPort, socket int, now time.Time) (*ask, hearing) {
	m, ok := decode(raw)
	if !ok || m.Type.Method != stun.MethodBinding {
		return nil, hearing{}
	}
	k := a.byID[m.TransactionID]
	if k == nil || k.sends == 0 || len(k.heard) == maxHeard {
		return nil, hearing{}
	}
	answer := m.Type.Class == stun.ClassSuccessResponse || m.Type.Class == stun.ClassErrorResponse
	if k.peer && m.Type.Class != stun.ClassRequest || !k.peer && (!answer || from != k.to) {
		return nil, hearing{}
	}
	h := hearing{socket, from, now, m}
	k.heard = append(k.heard, h)
	return k, h
}

// paired sends requests in rounds, each beside a control: a plain request from
// the same socket. It ends as soon as every request is settled.
type paired struct {
	subjects, controls []*ask
}

// Silence is evidence where rounds requests went unanswered, and at most one of
// as many controls did.
const (
	rounds = 8
	every  = 80 * time.Millisecond
)

// rounds adds requests that are sent from now on.
func (a *asks) rounds(now time.Time, socket int, server netip.AddrPort, request requester, subjects ...*stun.Message) *paired {
	p := &paired{}
	var at []time.Duration
	for i := range rounds {
		at = append(at, time.Duration(i)*every)
		p.controls = append(p.controls, a.add(request(), socket, server, now, at[i]))
	}
	for _, m := range subjects {
		p.subjects = append(p.subjects, a.add(m, socket, server, now, at...))
	}
	return p
}

// settle ends a request, and with the last one the controls not yet sent.
func (p *paired) settle(k *ask) {
	k.done = true
	if slices.ContainsFunc(p.subjects, func(s *ask) bool { return !s.done }) {
		return
	}
	for _, c := range p.controls {
		c.done = c.done || c.sends == 0
	}
}

// proves says whether silence to a request of these means something.
func (p *paired) proves() bool {
	n := 0
	for _, c := range p.controls {
		if _, ok := c.first(stun.ClassSuccessResponse); ok {
			n++
		}
	}
	return n >= rounds-1
}

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
func (c *Config) optIn(ctx context.Context, r *Report, t *token) {
	var wg sync.WaitGroup
	for network, f := range map[string]*Family{"udp4": &r.V4, "udp6": &r.V6} {
		g := ground{c: c, network: network, family: f, token: t}
		why := "nothing answers over UDP"
		if f.UDP == NotTested {
			why = f.Why
		}
		for _, e := range f.Endpoints {
			if e.Answered > 0 && slices.Contains(r.Server.STUN, e.Endpoint) && (!g.server.IsValid() || e.RTTMS < g.rtt(g.server)) {
				g.server, g.local, why = e.Endpoint, f.Trials[0].Local.Addr(), ""
			}
		}
		wg.Go(func() { g.run(ctx, why) })
	}
	wg.Wait()
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

// sockets opens n fresh ones, or says why it cannot.
func (g *ground) sockets(ctx context.Context, n int) (socks []net.PacketConn, why string) {
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

// requester builds Binding requests.
type requester func(set ...stun.Setter) *stun.Message

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
