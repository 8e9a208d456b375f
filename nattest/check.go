package nattest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/stun/v3"
)

// Check tests everything a server advertises: HTTP, each STUN endpoint, each
// TURN URL, and whether the relay ports are open from where Check runs. What
// fails is in the report; the error is an *Error with Usage set, or that of a
// canceled context.
func Check(ctx context.Context, c Config) (*CheckReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	t, err := c.prepare(ctx)
	if err != nil {
		return nil, err
	}
	r := &CheckReport{Schema: 1, Time: start.UTC()}
	addrs, err := c.lookup(ctx, t.host)
	if err != nil {
		r.Server = describe(t, facts{}, nil, nil, nil)
		r.Checks = []Item{{Name: "dns", Target: t.host, State: "failed", Reason: plain(err), Hint: "check the name and its DNS records"}}
	} else {
		f := c.discover(ctx, t)
		eps, notes := c.stunEndpoints(ctx, t, f, addrs)
		r.Server = describe(t, f, addrs, eps, notes)
		var api, stuns, turns []Item
		var wg sync.WaitGroup
		wg.Go(func() { api = c.checkHTTP(ctx, t, f) })
		wg.Go(func() { stuns = c.checkSTUN(ctx, eps) })
		wg.Go(func() { turns = c.checkTURN(ctx, f, addrs) })
		wg.Wait()
		r.Checks = slices.Concat(api, stuns, turns)
	}
	if ctx.Err() != nil {
		return nil, &Error{Reason: "checking " + t.host, Hint: "the check was interrupted", Err: ctx.Err()}
	}
	r.OK = !slices.ContainsFunc(r.Checks, func(it Item) bool { return it.State == "failed" })
	r.DurationMS = time.Since(start).Milliseconds()
	return r, nil
}

// describe is the server for a report.
func describe(t target, f facts, addrs []netip.Addr, eps []netip.AddrPort, notes []string) Server {
	s := Server{Host: t.host, HTTP: f.base, Addresses: addrs, STUN: eps, Notes: notes}
	if addrs == nil {
		s.Addresses = []netip.Addr{}
	}
	if eps == nil {
		s.STUN = []netip.AddrPort{}
	}
	if d := f.skew; d.Abs() >= 30*time.Second {
		s.Notes = append(s.Notes, fmt.Sprintf("this machine's clock and the server's differ by %s", d.Abs()))
	}
	if addr, err := netip.ParseAddr(t.host); f.clear && (err == nil && public(addr) || err != nil && t.host != "localhost") {
		s.Notes = append(s.Notes, "the key went over plain http, where others may read it")
	}
	return s
}

// checkHTTP asks /healthz and judges what /v1/ice said.
func (c *Config) checkHTTP(ctx context.Context, t target, f facts) []Item {
	if f.base == "" {
		it := Item{Name: "http", Target: t.bases[0].url, State: "failed", Reason: "no answer"}
		if f.err != nil {
			it.Reason = plain(f.err)
		}
		if it.Hint = "check that the server runs and that its HTTP port is open and published (TURNKEY_HTTP)"; len(t.bases) > 1 {
			it.Hint += "; it was also sought at " + t.bases[1].url
		}
		return []Item{it}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	health := Item{Name: "http", Target: f.base + "/healthz", State: "ok"}
	start := time.Now()
	resp, _, err := c.get(ctx, health.Target, "")
	switch health.MS = ms(time.Since(start)); {
	case err != nil:
		health.State, health.Reason = "failed", plain(err)
	case resp.StatusCode != http.StatusOK:
		health.State, health.Reason = "failed", "HTTP "+resp.Status
		health.Hint = "the server is starting, or could not bind all its sockets: see its log"
	}
	ice := Item{Name: "ice", Target: f.base + "/v1/ice", State: "ok"}
	switch {
	case f.refusal != "":
		if ice.State, ice.Reason = "not_tested", f.refusal; c.Key != "" && (f.status == 401 || f.status == 403) {
			ice.State, ice.Hint = "failed", "see TURNKEY_API_KEY and TURNKEY_AUTH on the server"
		}
		if f.status >= 500 {
			ice.State = "failed"
		}
	case len(f.urls) == 0:
		ice.State, ice.Reason, ice.Hint = "failed", errNoURL.Error(), "see TURNKEY_HOST and the server's log"
	}
	return []Item{health, ice}
}

// checkSTUN asks every STUN endpoint from one socket of its family.
func (c *Config) checkSTUN(ctx context.Context, eps []netip.AddrPort) []Item {
	one := *c
	one.Trials = 1
	families := [2][]netip.AddrPort{only(eps, netip.Addr.Is4), only(eps, netip.Addr.Is6)}
	var seen [2]observation
	var wg sync.WaitGroup
	for i, network := range []string{"udp4", "udp6"} {
		wg.Go(func() { seen[i] = one.observe(ctx, network, families[i]) })
	}
	wg.Wait()
	var out []Item
	for i, o := range seen {
		for _, ep := range families[i] {
			it := Item{Name: "stun", Target: ep.String(), State: "not_tested", Reason: o.why}
			if o.why == "" {
				it.Reason = "this machine reaches it from another local address than the others"
			}
			for _, t := range o.trials {
				for _, a := range t.Answers {
					if a.Endpoint == ep {
						it = stunItem(a)
					}
				}
			}
			out = append(out, it)
		}
	}
	return out
}

func stunItem(a Answer) Item {
	if a.Mapped.IsValid() {
		return Item{Name: "stun", Target: a.Endpoint.String(), State: "ok", MS: a.RTTMS}
	}
	return Item{
		Name: "stun", Target: a.Endpoint.String(), State: "failed", Reason: fmt.Sprintf("no answer to %d requests over UDP", a.Sends),
		Hint: fmt.Sprintf("open UDP port %d in the server's firewall and its cloud's; UDP may also be blocked on the way", a.Endpoint.Port()),
	}
}

// checkTURN verifies every URL, and through the first over UDP that the relay
// ports let packets in.
func (c *Config) checkTURN(ctx context.Context, f facts, server []netip.Addr) []Item {
	if len(f.urls) == 0 {
		why := "the HTTP API does not answer"
		if f.base != "" {
			why = "no credentials"
		}
		return []Item{{Name: "turn", Target: "TURN", State: "not_tested", Reason: why}}
	}
	by := slices.IndexFunc(f.urls, func(u turnURL) bool { return u.Scheme == stun.SchemeTypeTURN && u.Proto == stun.ProtoTypeUDP })
	ports := Item{Name: "relay_ports", Target: "relay ports from here", State: "not_tested", Reason: "no allocation over UDP to test them with"}
	reports := c.verifyURLs(ctx, f, func(ctx context.Context, i int, a *allocation) {
		if i == by {
			ports = c.checkRelayPort(ctx, a, server)
		}
	})
	var out []Item
	for _, u := range reports {
		out = append(out, Item{Name: "turn", Target: u.URL, State: u.State, MS: u.RTTMS, Reason: u.Reason, Hint: u.Hint, TURN: &u})
	}
	return append(out, ports)
}

// checkRelayPort sends from a socket of its own, as a peer without TURN would,
// to the relayed address. Relay to relay passes inside the server, so only
// this sees a firewall in front of the relay ports.
func (c *Config) checkRelayPort(ctx context.Context, a *allocation, server []netip.Addr) Item {
	it := Item{Name: "relay_ports", Target: "UDP from here to relay " + a.relayed.String(), State: "not_tested"}
	me := a.mapped.Addr()
	if !me.IsValid() || me == a.relayed.Addr() || me.IsLoopback() || slices.Contains(server, me) {
		it.Reason = "this is the server's own machine; run the check from another network"
		return it
	}
	network := "udp4"
	if a.relayed.Addr().Is6() {
		network = "udp6"
	}
	if me.BitLen() != a.relayed.Addr().BitLen() {
		it.Reason = "the relayed address is of another family than this connection"
		return it
	}
	local, _, why := c.egress(ctx, network, []netip.AddrPort{a.relayed})
	if why != "" {
		it.Reason = why
		return it
	}
	if f := a.permit(ctx, a.mapped); f != nil {
		it.Reason = "the server does not take " + me.String() + " as a peer: " + f.reason
		if f.code == 403 {
			it.Hint = "private and reserved addresses are denied unless TURNKEY_ALLOW_PEERS names them; run the check from the internet"
		}
		return it
	}
	s, err := c.ListenPacket(ctx, network, net.JoinHostPort(local.String(), "0"))
	if err != nil {
		it.Reason = "no UDP socket could be opened: " + clean(err.Error())
		return it
	}
	defer s.Close()
	payload := newPayload()
	err = repeat(ctx, &packetLink{PacketConn: s, server: a.relayed}, a, func(int) ([]byte, error) { return payload, nil },
		func(raw []byte) bool { _, ok := delivered(raw, payload); return ok })
	if it.State = "ok"; err != nil {
		it.State, it.Reason = "failed", "a packet from here does not arrive, though packets between relays do"
		it.Hint = "open UDP TURNKEY_RELAY_PORTS (49160-49359) in the server's firewall and its cloud's; if this network blocks such ports itself, check from another"
	}
	return it
}
