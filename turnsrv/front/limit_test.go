package front

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pires/go-proxyproto"
)

// A client has as many connections of a kind as its limit says until it closes
// one, counted by the address that a trusted proxy names.
func TestConnectionsOfAClientAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		in := newQueue(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 10), Port: 80}, 0, func() error { return nil })
		p := &port{Split(in, Config{
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")},
			Limits:         map[Kind]Limit{Plain: {PerClient: 2, Setting: "MAX", Answer: []byte("too many")}},
			Log:            slog.New(slog.NewTextHandler(&log, nil)),
		}, Plain), in}
		defer p.Close()
		var held []net.Conn
		open := func(from, says string) net.Conn {
			t.Helper()
			c := p.dial(t, from)
			go io.WriteString(c, says+request)
			if served := p.accepted(Plain); served != nil {
				held = append(held, served)
				return nil
			}
			return c
		}
		refused := func(from, says string) {
			t.Helper()
			c := open(from, says)
			if c == nil {
				t.Errorf("%s: got it served, want it refused", from)
				return
			}
			if got, _ := io.ReadAll(c); string(got) != "too many" {
				t.Errorf("%s: got answer %q, want too many", from, got)
			}
		}
		served := func(from, says string) {
			t.Helper()
			if open(from, says) != nil {
				t.Errorf("%s: got it refused, want it served", from)
			}
		}
		proxied := func(client string) string {
			h := proxyproto.HeaderProxyFromAddrs(1, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(client)), in.addr)
			b, err := h.Format()
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		served("[2001:db8::1]:1", "")
		served("[2001:db8::2]:1", "")
		refused("[2001:db8::3]:1", "") // of the same /64
		refused("[2001:db8::4]:1", "")
		served("[2001:db8:0:1::3]:1", "")
		served("203.0.113.1:1", "")
		served("203.0.113.1:2", "")
		refused("192.0.2.1:1", proxied("203.0.113.1:3"))
		refused("203.0.113.1:4", "")
		served("203.0.113.2:1", "")
		for range 4 {
			served("192.0.2.1:1", "") // a trusted proxy speaks for many
			served("127.0.0.1:1", "")
		}
		held[0].Close()
		held[0].Close() // counts once
		served("[2001:db8::5]:1", "")
		refused("[2001:db8::6]:1", "")
		for _, c := range held {
			c.Close()
		}
		if n := len(p.open[Plain].clients); n != 0 {
			t.Errorf("got %d clients counted when all connections are closed, want none", n)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "setting=MAX") {
			t.Errorf("got %d lines of log, want one that names the setting:\n%s", n, log.String())
		}
	})
}

// Handing over may fail after a connection was counted.
func TestConnectionsThatNobodyTakesAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newQueue(&net.TCPAddr{}, 0, func() error { return nil })
		p := &port{Split(in, Config{Limits: map[Kind]Limit{Plain: {PerClient: 1}}}, Plain), in}
		defer p.Close()
		c := p.dial(t, "203.0.113.1:1")
		go io.WriteString(c, request)
		_, _ = io.ReadAll(c) // until it was closed
		synctest.Wait()
		if n := len(p.open[Plain].clients); n != 0 {
			t.Errorf("got %d clients counted, want none", n)
		}
	})
}

func TestDTLSAsksWhoMayBegin(t *testing.T) {
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan netip.Addr, 1)
	l := DTLS(socket, nil, func(a netip.Addr) bool { asked <- a; return false }, nil).(*dtlsListener)
	defer l.Close()
	c, err := net.Dial("udp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(hello(t)); err != nil {
		t.Fatal(err)
	}
	if a := <-asked; a != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("got asked for %v, want 127.0.0.1", a)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.clients) != 0 || l.pending.entries.Len() != 0 {
		t.Errorf("got %d clients, want none", len(l.clients))
	}
}
