// Package nattest answers two questions about a turnkey server.
//
// Run, for somebody who sits behind a NAT: do peers of this machine need a
// relay, why, and does the relay work? It maps several fresh UDP sockets
// through every STUN address and port of the server, names the mapping
// behavior (RFC 4787 section 4.1, measured as RFC 5780 section 4.3 says) and
// verifies TURN (RFC 8656) end to end.
//
// Check, for the operator: does everything the server advertises work? It asks
// HTTP, both STUN ports and each URL of /v1/ice, and names the stage that
// failed with the likely fix.
//
// What was not seen is "unknown" or "not tested" and never counts as evidence.
// The package opens no socket itself: Config hands in the functions that do.
// The decisions (probe, classify, verdict, the TURN dialog) do no I/O.
package nattest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"turnkey/nattest/around"
)

// Config says what to test and with which sockets. Host, ListenPacket and
// DialContext are needed, everything else has a default.
type Config struct {
	// Host is a host, a host:port of HTTP, or a URL (http or https). A bare
	// host is tried as https on port 443, then as http on port 8080.
	Host string
	// Key is the bearer token for GET /v1/ice; "" asks without one. It goes
	// over plain http only where Host names http, its port or an address.
	Key string
	// HTTP is the client for the server's API; nil is one over DialContext
	// and TLS that follows no redirects.
	HTTP *http.Client
	// TLS is for https and turns URLs; nil trusts the system's roots.
	TLS *tls.Config
	// Resolve looks a name up; nil is net.DefaultResolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// ListenPacket opens a UDP socket, network "udp4" or "udp6".
	ListenPacket func(ctx context.Context, network, addr string) (net.PacketConn, error)
	// DialContext connects TCP, and connects UDP to learn which local address
	// leads to the server (nothing is sent on that socket).
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Trials is the number of fresh sockets a family is mapped with:
	// 1 to 8, 0 is 3.
	Trials int
	// Around is what may be looked at around the NAT: interfaces, hops, what the
	// router offers, captive portals; nil looks at nothing.
	Around *around.System
	// Also names STUN servers whose addresses serve beside Host's: a host, a
	// host:port (0 is 3478) or a stun: URI (RFC 7064), four at most.
	Also []string
	// Hairpin, Fragments and ALG ask for tests that take some seconds at most
	// and that some NATs and firewalls take ill.
	Hairpin, Fragments, ALG bool
	// Lifetime asks how long a NAT keeps an idle mapping, looking no further
	// than this: 5 s to 10 min, which is also how long it takes; 0 does not ask.
	Lifetime time.Duration
	// Progress is told in a few words what is being tested and what was found,
	// one call at a time; nil is not told.
	Progress func(string)
	// Quick keeps Check from measuring: a few round trips are all it takes.
	Quick bool
	// Log gets the steps at Debug; nil discards.
	Log *slog.Logger
}

// Error is what Run and Check return when there is nothing to report.
type Error struct {
	Usage  bool   // the Config is at fault, else the server could not be reached
	Reason string // what happened, and why
	Hint   string // what to do, may be ""
	Err    error  // the cause, may be nil; Reason has it in words
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Reason
	}
	return e.Reason + " (" + e.Hint + ")"
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode is what the process should return: 2 usage, 4 interrupted, 5 server
// unreachable.
func (e *Error) ExitCode() int {
	switch {
	case e.Usage:
		return 2
	case errors.Is(e.Err, context.Canceled):
		return 4
	}
	return 5
}

// Run probes the NAT in front of this machine and verifies the server's TURN
// URLs, all at the same time; it takes half a second and a few round trips, and
// up to five seconds where packets get lost or dropped; the tests that are
// opt-in come after that. The error is always an *Error.
func Run(ctx context.Context, c Config) (*Report, error) {
	start := time.Now()
	whole, stop := context.WithCancel(ctx)
	defer stop()
	ctx, cancel := context.WithTimeout(whole, limit)
	defer cancel()
	t, err := c.prepare(whole)
	if err != nil {
		return nil, err
	}
	c.Progress("looking up " + t.host)
	addrs, err := c.lookup(ctx, t.host)
	if err != nil {
		return nil, &Error{Reason: "could not look up " + t.host + ": " + plain(err), Hint: "check the name, and that this machine has DNS", Err: err}
	}
	var urls []URLReport
	var near *around.Report
	parts := tasks{tell: c.Progress}
	g := c.gather(ctx, t, addrs, start, &parts, func(f facts, eps []netip.AddrPort) {
		parts.do("the way to the server", func() string { near = c.look(ctx, t, f, eps, addrs); return "" })
		parts.do("TURN", func() string {
			urls = c.verifyTURN(ctx, f, survey{stun: eps, server: addrs, addresses: 1, enough: start.Add(soon)})
			return ""
		})
	})
	parts.Wait()
	f, v4, v6 := g.facts, g.v4, g.v6
	if whole.Err() != nil {
		return nil, &Error{Reason: "the test of " + t.host + " was interrupted", Err: whole.Err()}
	}
	if f.base == "" && v4.answers() == 0 && v6.answers() == 0 {
		return nil, &Error{
			Reason: fmt.Sprintf("%s answers neither over HTTP (%s) nor over STUN", c.Host, plain(f.err)), Err: f.err,
			Hint: cmp.Or(near.Portal(), "check the address, that the server runs, and that this network lets traffic out"),
		}
	}
	r := &Report{Schema: 1, Time: start.UTC(), Server: describe(t, f, addrs, g.eps, g.notes)}
	f.heard = slices.Concat(v4.heard(), v6.heard())
	explain(urls, &f, slices.Concat(v4.seen(), v6.seen()))
	r.TURN = relay(f, best(urls))
	r.conclude(v4, v6, f.base != "")
	c.optIn(whole, r, g.also, c.tokenOf(f))
	if r.interrupted = whole.Err() != nil; r.interrupted {
		r.Server.Notes = append(r.Server.Notes, "the test was interrupted before it had ended")
	}
	r.surroundings(near, f)
	r.DurationMS = time.Since(start).Milliseconds()
	return r, nil
}

// prepare fills the defaults and reads Host. What it makes ends with ctx.
func (c *Config) prepare(ctx context.Context) (target, error) {
	if c.ListenPacket == nil || c.DialContext == nil {
		return target{}, &Error{Usage: true, Reason: "nattest: Config needs ListenPacket and DialContext"}
	}
	if c.Trials < 0 || c.Trials > 8 {
		return target{}, &Error{Usage: true, Reason: "trials out of range", Hint: "use 1 to 8"}
	}
	if c.Trials == 0 {
		c.Trials = 3
	}
	if len(c.Also) > maxAlso {
		return target{}, &Error{Usage: true, Reason: "too many STUN servers", Hint: fmt.Sprintf("name %d at most", maxAlso)}
	}
	for _, s := range c.Also {
		if _, err := parseAlso(s); err != nil {
			return target{}, err
		}
	}
	if c.Lifetime != 0 && (c.Lifetime < 5*time.Second || c.Lifetime > 10*time.Minute) {
		return target{}, &Error{Usage: true, Reason: fmt.Sprintf("lifetime %s: out of range", c.Lifetime), Hint: "use 5s to 10m"}
	}
	c.DialContext = hedged(c.DialContext)
	c.Progress = inTurn(c.Progress)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Resolve == nil {
		c.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if c.HTTP == nil {
		dial := c.DialContext // net/http would let it go on after its request has ended
		bounded := func(dctx context.Context, network, addr string) (net.Conn, error) {
			dctx, cancel := context.WithTimeout(dctx, 4*time.Second)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			return dial(dctx, network, addr)
		}
		c.HTTP = &http.Client{
			Transport:     &http.Transport{DialContext: bounded, TLSClientConfig: c.TLS, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return parseTarget(c.Host)
}
