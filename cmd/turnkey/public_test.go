package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"turnkey/stunsrv"
	"turnkey/turnsrv"
)

// A name is looked up every five minutes, more often while it fails, and the
// address counts only when it has changed.
func TestNameIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards all of these
		answer, failure, asked := netip.MustParseAddr("8.8.4.4"), error(nil), 0
		set := func(f func()) { mu.Lock(); defer mu.Unlock(); f() }
		find := byName(func(_ context.Context, network, host string) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			if network != "ip4" || host != "turn.example.com" {
				t.Errorf("asked for %s of %s", network, host)
			}
			return []netip.Addr{answer}, failure
		}, "turn.example.com")
		s := &surroundings{}
		s.advertised.Store(&public{addr: netip.MustParseAddr("10.0.0.2"), from: "until it is resolved"})
		var changes []netip.Addr
		failures := 0
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.follow(ctx, find, func(p public) { set(func() { changes = append(changes, p.addr) }) }, func(err error) {
				set(func() { failures++ })
				if !strings.Contains(err.Error(), "dns:turn.example.com") {
					t.Errorf("got %v, want the setting", err)
				}
			})
		}()
		want := func(what string, seen int, at string, changed, failed int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if asked != seen || s.host() != at || len(changes) != changed || failures != failed {
				t.Errorf("%s: got asked %d, at %s, changes %v, %d failures; want %d, %s, %d, %d", what, asked, s.host(), changes, failures, seen, at, changed, failed)
			}
		}
		want("at once", 1, "8.8.4.4", 1, 0)
		time.Sleep(publicAgain)
		want("unchanged", 2, "8.8.4.4", 1, 0)
		set(func() { answer = netip.MustParseAddr("8.8.8.8") })
		time.Sleep(publicAgain)
		want("changed", 3, "8.8.8.8", 2, 0)
		set(func() { failure = errors.New("no such host") })
		time.Sleep(publicAgain)
		want("failing", 4, "8.8.8.8", 2, 1)
		time.Sleep(publicRetry)
		want("failing twice", 5, "8.8.8.8", 2, 2)
		time.Sleep(2 * publicRetry)
		want("failing thrice", 6, "8.8.8.8", 2, 3)
		set(func() { failure = nil })
		time.Sleep(4 * publicRetry)
		want("back", 7, "8.8.8.8", 2, 3)
		cancel()
		<-ended
	})
}

// reflector is a STUN server on loopback that says it sees everybody at addr.
func reflector(t *testing.T, addr string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-ended })
	go func() {
		defer close(ended)
		for b := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if _, err := conn.WriteTo(stunsrv.Respond(nil, b[:n], netip.AddrPortFrom(netip.MustParseAddr(addr), 4000), &stunsrv.Site{}, nil).Message, from); err != nil {
				t.Error(err)
			}
		}
	}()
	return conn.LocalAddr().String()
}

func TestServersAreAskedForThePublicAddress(t *testing.T) {
	here := reflector(t, "8.8.4.4")
	for _, tt := range []struct {
		name, want, log string
		servers         []string
		err             string
	}{
		{"one", "8.8.4.4", "", []string{here}, ""},
		{"two that agree", "8.8.4.4", "", []string{here, reflector(t, "8.8.4.4")}, ""},
		{"two that disagree", "8.8.4.4", "other=8.8.8.8", []string{here, reflector(t, "8.8.8.8")}, ""},
		{"one behind the same NAT", "8.8.4.4", "10.0.0.9, which is not public", []string{reflector(t, "10.0.0.9"), here}, ""},
		{"none of use", "", "", []string{reflector(t, "192.168.1.1")}, "192.168.1.1, which is not public"},
		{"no such name", "8.8.4.4", "no such host", []string{"nowhere.example:3478", here}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log buffer
			a := asker{servers: tt.servers, log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
				listen: func() (net.PacketConn, error) { return net.ListenPacket("udp4", "127.0.0.1:0") },
				lookup: func(_ context.Context, _, host string) ([]netip.Addr, error) {
					if a, err := netip.ParseAddr(host); err == nil {
						return []netip.Addr{a}, nil
					}
					return nil, errors.New("no such host")
				}}
			got, err := a.find(t.Context())
			switch {
			case tt.err != "":
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "TURNKEY_STUN_SERVERS") {
					t.Errorf("got %v, %v, want the error %s", got, err, tt.err)
				}
			case err != nil || got.addr.String() != tt.want || got.hint != "" || !strings.HasPrefix(got.from, "asked 127.0.0.1:"):
				t.Errorf("got %+v, %v, want %s", got, err, tt.want)
			}
			if text := log.String(); !strings.Contains(text, tt.log) || tt.log == "" && text != "" {
				t.Errorf("got log %q, want %q in it", text, tt.log)
			}
		})
	}
}

// Nobody is asked unless it was set, and it is of use.
func TestNobodyIsAskedUntold(t *testing.T) {
	private, found := public{addr: netip.MustParseAddr("10.0.0.2"), hint: "x"}, public{addr: netip.MustParseAddr("8.8.4.4")}
	for _, tt := range []struct {
		name    string
		known   public
		servers []string
		want    bool
	}{
		{"unset", private, nil, false},
		{"public on an interface", found, []string{"stun.example.com:3478"}, false},
		{"private", private, []string{"stun.example.com:3478"}, true},
	} {
		s := &server{around: &surroundings{}}
		s.cfg.STUNServers = tt.servers
		s.around.advertised.Store(&tt.known)
		if got := s.finder() != nil; got != tt.want {
			t.Errorf("%s: got a finder: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// A new address is the server's own from then on, STUN tells it, and it is tested.
func TestNewAddressIsItsOwn(t *testing.T) {
	var log buffer
	conn := fakeConn{at: netip.MustParseAddrPort("10.0.0.1:3478")}
	around := &surroundings{listen: addrs("10.0.0.1"), relay: conn.at.Addr()}
	s := &server{log: slog.New(slog.NewTextHandler(&log, nil)), around: around, retest: make(chan struct{}, 1), stun: newSTUNPlaces([]net.PacketConn{conn}, [2]uint16{3478, 3479}),
		peers: &turnsrv.Peers{Relays: turnsrv.PortRange{Min: 49160, Max: 49359}}}
	for _, addr := range []string{"8.8.4.4", "10.0.0.9"} {
		p := public{addr: netip.MustParseAddr(addr), from: "asked"}
		s.around.advertised.Store(&p)
		s.moved(p)
		if origin := s.stun.of(conn)(netip.AddrPort{}).Site[0]; origin.Addr() != p.addr {
			t.Errorf("%s: STUN says it is at %s", addr, origin)
		}
		if why := s.peers.Permission(netip.AddrPortFrom(p.addr, 49160)); why != "" {
			t.Errorf("%s: a relay port is denied: %s", addr, why)
		}
		if s.peers.Permission(netip.AddrPortFrom(p.addr, 22)) == "" {
			t.Errorf("%s: port 22 is not denied", addr)
		}
		if private, warned := addr == "10.0.0.9", strings.Contains(log.String(), "level=WARN"); private != warned {
			t.Errorf("%s: got log %q, want a warning: %t", addr, log.String(), private)
		}
	}
	if len(s.retest) != 1 {
		t.Error("got no self test, want one")
	}
}

func TestAskedAddressIsAdvertised(t *testing.T) {
	s := newPlain(t)
	delete(s.environ, "TURNKEY_HOST")
	s.environ["TURNKEY_STUN_SERVERS"] = reflector(t, "8.8.4.4")
	s.serve(t)
	until(t, "public address", func() bool {
		_, body := s.ask(t, "GET", "/v1/ice", "")
		return strings.Contains(body, "turn:8.8.4.4:")
	})
	username, password := s.credential(t)
	r, err := s.relay(t, username, password)
	if err != nil {
		t.Fatal(err)
	}
	if got := addrPortOf(t, r.relay.LocalAddr()); got.Addr().String() != "8.8.4.4" {
		t.Errorf("got a relay at %s, want 8.8.4.4", got)
	}
}

func addrPortOf(t *testing.T, a net.Addr) netip.AddrPort {
	t.Helper()
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	return ap
}
