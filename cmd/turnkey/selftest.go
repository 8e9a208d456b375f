package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"turnkey/nattest"
	"turnkey/web"
)

const (
	testEvery = 12 * time.Hour
	testAgain = time.Minute // after a test that failed
	testTTL   = time.Minute // of the credential
	testLabel = "self-test"
)

// tested is the last result of the self test.
type tested struct {
	mu   sync.Mutex
	last web.Check
}

func (t *tested) get() web.Check {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last.State == "" {
		return web.Check{State: web.CheckUntested, Detail: "The first self test is under way."}
	}
	return t.last
}

// set keeps c, and reports whether it is new.
func (t *tested) set(c web.Check) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.last
	t.last = c
	return c != before
}

// every runs test at once, each minute while it fails, every 12 hours while it
// does not, and whenever moved says so, until ctx is done.
func every(ctx context.Context, moved <-chan struct{}, test func(context.Context) bool) {
	for {
		pause := testEvery
		if !test(ctx) {
			pause = testAgain
		}
		select {
		case <-time.After(pause):
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// testSelf sends a packet from a socket of this machine to the advertised
// address of a relay of this server, and to one of IPv6 where there are those.
// It keeps what came of it, logs it if that is new, and reports whether it
// could be made and did not fail.
func (s *server) testSelf(ctx context.Context) bool {
	at := s.around.advertise()
	c, err := s.testRelay(ctx, at, s.around.relay)
	full := err != nil && s.full()
	if at6 := s.around.relay6; at6.IsValid() && at6 != at && !full {
		var c6 web.Check
		c6, err = s.testRelay(ctx, at6, at6)
		full = err != nil && s.full()
		c = worse(c, c6)
	}
	if ctx.Err() != nil {
		return true
	}
	if full { // busy is not broken
		c = web.Check{State: web.CheckUntested, Detail: "Every relay is in use: there was none for a self test."}
	}
	if s.tested.set(c) {
		level := slog.LevelInfo
		if c.State == web.CheckFailed {
			level = slog.LevelWarn
		}
		s.log.Log(ctx, level, "self test: "+c.State, "detail", c.Detail)
	}
	return c.State != web.CheckFailed && !full
}

// testRelay tests relays that are bound to one address and advertised at
// another, or the same.
func (s *server) testRelay(ctx context.Context, advertised, relay netip.Addr) (web.Check, error) {
	arrived, err := s.loop(ctx, advertised, relay)
	return loopCheck(advertised, slices.Contains(s.around.own, advertised), arrived, err), err
}

// worse is the check that needs more attention; of two that came out alike it
// has what both say.
func worse(a, b web.Check) web.Check {
	rank := []string{web.CheckOK, web.CheckUntested, web.CheckFailed}
	switch i, j := slices.Index(rank, a.State), slices.Index(rank, b.State); {
	case i > j:
		return a
	case i < j:
		return b
	}
	if head, found := strings.CutSuffix(a.Detail, unseen); found {
		a.Detail = head
	}
	a.Detail += " " + b.Detail
	return a
}

// full reports whether there is no room for another allocation.
func (s *server) full() bool {
	v := s.turn.Stats()
	return v.FreePortsIPv4 == 0 || s.cfg.MaxAllocations > 0 && v.Sessions >= s.cfg.MaxAllocations
}

// loop makes a relay and sends to it from outside, as far as that goes from here.
func (s *server) loop(ctx context.Context, advertised, relay netip.Addr) (arrived bool, err error) {
	turn := relay
	if !slices.Contains(s.around.listen, turn) {
		turn = s.around.listen[0]
	}
	username, password, err := s.secrets.Load().Issue(testLabel, time.Now().Add(testTTL))
	if err != nil {
		return false, err
	}
	client, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(turn, 0)))
	if err != nil {
		return false, err
	}
	defer client.Close()
	peer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(relay, 0)))
	if err != nil {
		return false, err
	}
	defer peer.Close()
	r, err := nattest.Loop(ctx, nattest.LoopConfig{
		Server: netip.AddrPortFrom(turn, s.cfg.Port), Username: username, Password: password,
		Client: client, Peer: peer, From: slices.Compact([]netip.Addr{relay, advertised}),
	})
	return r.Arrived, err
}

const unseen = " A firewall in front of this machine cannot be seen from inside: run `turnkey check` from another network."

// loopCheck judges the self test.
func loopCheck(at netip.Addr, onInterface, arrived bool, err error) web.Check {
	switch {
	case err != nil:
		return web.Check{State: web.CheckFailed, Detail: fmt.Sprintf("No relay could be made at %s: %v.", at, err)}
	case arrived:
		return web.Check{State: web.CheckOK, Detail: fmt.Sprintf("A packet to a relay at %s came through.", at) + unseen}
	case onInterface:
		return web.Check{State: web.CheckFailed, Detail: fmt.Sprintf("A packet to a relay at %s, an address of this machine, did not come through: open TURNKEY_RELAY_PORTS (UDP) in this machine's firewall.", at)}
	}
	return web.Check{State: web.CheckUntested, Detail: fmt.Sprintf("A packet to a relay at %s did not come back; many NATs send none back to where it came from. Run `turnkey check` from another network.", at)}
}
