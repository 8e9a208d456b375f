package nattest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Check tests everything a server advertises: names, HTTP, certificates,
// signaling, each STUN endpoint, each TURN URL at each address, and whether the
// relay ports are open from where Check runs. Unless Quick is set it measures
// the way to the relays, too, for about a second and another for each URL, at
// no more than 2 Mbit/s. What fails is in the report; the error is an *Error
// with Usage set, or that of a canceled context.
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
		r.Checks = []Item{dnsItem(t.host, nil, err)}
	} else {
		f := c.discover(ctx, t)
		eps, notes := c.stunEndpoints(ctx, t, f, addrs)
		told := f
		told.skew = 0 // the clock has an item of its own
		r.Server = describe(t, told, addrs, eps, notes)
		r.Checks = c.checkAll(ctx, t, f, addrs, eps)
	}
	if ctx.Err() != nil {
		return nil, &Error{Reason: "the check of " + t.host + " was interrupted", Err: ctx.Err()}
	}
	r.OK = !slices.ContainsFunc(r.Checks, func(it Item) bool { return it.State == "failed" })
	r.DurationMS = time.Since(start).Milliseconds()
	return r, nil
}

// checkAll runs every check, those that do not depend on each other at the
// same time.
func (c *Config) checkAll(ctx context.Context, t target, f facts, addrs []netip.Addr, eps []netip.AddrPort) []Item {
	var names, api, certificates, sockets, stuns []Item
	var heard []netip.AddrPort
	var seen []netip.Addr
	var urls []URLReport
	var wg sync.WaitGroup
	wg.Go(func() { names = c.checkNames(ctx, t, f, addrs) })
	wg.Go(func() { api = c.checkHTTP(ctx, t, f) })
	wg.Go(func() { certificates = c.checkCertificates(ctx, t, f) })
	wg.Go(func() { sockets = c.checkWebSocket(ctx, f) })
	wg.Go(func() { stuns, heard, seen = c.checkSTUN(ctx, eps) })
	wg.Go(func() {
		urls = c.verifyTURN(ctx, f, survey{stun: eps, server: addrs, addresses: 2, measure: !c.Quick})
	})
	wg.Wait()
	f.heard = heard
	explain(urls, &f, seen)
	return slices.Concat(names, blame(api, certificates), certificates, sockets, f.checkCredential(time.Now()), f.checkClock(), stuns, f.turnItems(urls))
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
	if d := f.skew; d.Abs() >= clockDiffers {
		s.Notes = append(s.Notes, fmt.Sprintf("this machine's clock and the server's differ by %s", span(d)))
	}
	if addr, err := netip.ParseAddr(t.host); f.clear && (err == nil && public(addr) || err != nil && t.host != "localhost") {
		s.Notes = append(s.Notes, "the key went over plain http, where others may read it")
	}
	return s
}
