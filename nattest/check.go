package nattest

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
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
		var api, stuns []Item
		var wg sync.WaitGroup
		var seen []observation
		var urls []URLReport
		relayPorts := Item{Name: "relay_ports", Target: "relay ports from here", State: "not_tested", Reason: "no allocation over UDP to test them with"}
		wg.Go(func() { api = c.checkHTTP(ctx, t, f) })
		wg.Go(func() { stuns, seen = c.checkSTUN(ctx, eps) })
		wg.Go(func() { urls = c.verifyURLs(ctx, f, c.relayPortTest(f, addrs, &relayPorts)) })
		wg.Wait()
		for _, o := range seen {
			f.heard = append(f.heard, o.heard()...)
		}
		explain(urls, &f)
		r.Checks = slices.Concat(api, stuns, turns(f, urls, relayPorts))
	}
	if ctx.Err() != nil {
		return nil, &Error{Reason: "the check of " + t.host + " was interrupted", Err: ctx.Err()}
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
		s.Notes = append(s.Notes, fmt.Sprintf("this machine's clock and the server's differ by %s", span(d)))
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
func (c *Config) checkSTUN(ctx context.Context, eps []netip.AddrPort) (out []Item, seen []observation) {
	one := *c
	one.Trials = 1
	families := [2][]netip.AddrPort{only(eps, netip.Addr.Is4), only(eps, netip.Addr.Is6)}
	seen = make([]observation, len(families))
	var wg sync.WaitGroup
	for i, network := range []string{"udp4", "udp6"} {
		wg.Go(func() { seen[i] = one.observe(ctx, network, families[i]) })
	}
	wg.Wait()
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
	return out, seen
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
