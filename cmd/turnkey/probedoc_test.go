package main

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"turnkey/configs"
	"turnkey/stunsrv"
	"turnkey/web"
)

// serverFor is a server with these addresses that has bound nothing.
func serverFor(name, advertised, listen string) *server {
	found := public{addr: netip.MustParseAddr(advertised)}
	s := &server{
		around: &surroundings{}, tokens: stunsrv.NewTokens(tokenLife),
		access: &web.Access{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		cfg:    configs.Config{Host: name, Port: 3478, AltPort: 3479, RelayPorts: configs.PortRange{Min: 50000, Max: 50099}},
	}
	s.around.advertised.Store(&found)
	var conns []net.PacketConn
	for _, a := range strings.Fields(listen) {
		addr := netip.MustParseAddr(a)
		s.around.listen = append(s.around.listen, addr)
		for _, port := range []uint16{s.cfg.Port, s.cfg.AltPort} {
			conns = append(conns, fakeConn{at: netip.AddrPortFrom(addr, port)})
		}
	}
	s.around.relay = relayBind(found.addr, s.around.listen, netip.Addr{})
	s.stun = newSTUNPlaces(conns, [2]uint16{s.cfg.Port, s.cfg.AltPort})
	s.stun.publish(s.around.alternates())
	return s
}

// fakeConn is a UDP socket that is not there.
type fakeConn struct {
	net.PacketConn
	at netip.AddrPort
}

func (c fakeConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.at) }

func (fakeConn) WriteToUDPAddrPort([]byte, netip.AddrPort) (int, error) { return 0, net.ErrClosed }

func TestProbeDocument(t *testing.T) {
	const loopbacks = " 127.0.0.1 ::1"
	for _, tt := range []struct {
		what, name, advertised, listen string
		hosts                          string // "" is the host that was asked
		change                         string
	}{
		{"a name", "turn.example.com", "192.0.9.1", "192.0.9.1", "turn.example.com", "port"},
		{"a name and two addresses", "turn.example.com", "192.0.9.1", "192.0.9.1 192.0.9.2", "turn.example.com 192.0.9.1 192.0.9.2", "all"},
		{"an address for a name", "192.0.9.1", "192.0.9.1", "192.0.9.1 192.0.9.2", "192.0.9.1 192.0.9.2", "all"},
		{"one address", "", "192.0.9.1", "192.0.9.1 10.0.0.1 2a00:1::1" + loopbacks, "", "port"},
		{"two addresses", "", "192.0.9.2", "192.0.9.1 192.0.9.2 10.0.0.1 2a00:1::1" + loopbacks, " 192.0.9.2 192.0.9.1", "all"},
		{"many addresses", "", "192.0.9.1", "192.0.9.1 192.0.9.2 192.0.9.3 192.0.9.4", " 192.0.9.1 192.0.9.2 192.0.9.3", "all"},
		{"1:1 NAT", "", "192.0.9.9", "10.0.0.1 10.0.0.2", "", "port"},
		{"private network", "", "10.0.0.1", "10.0.0.1 10.0.0.2", "", "port"},
	} {
		s := serverFor(tt.name, tt.advertised, tt.listen)
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/nattest.json", nil)
		r.RemoteAddr = "192.0.2.7:4000"
		r.Header.Set("X-Forwarded-For", "198.51.100.9")
		s.probeDocument(w, r)
		var got struct {
			Schema                                 int
			STUN                                   []string
			RelayPorts, Token, ChangeRequest, Seen string
			Expires                                time.Time
		}
		var want []string
		for _, host := range strings.Split(tt.hosts, " ") {
			want = append(want, host+":3478", host+":3479")
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Schema != 1 || got.RelayPorts != "50000-50099" || !slices.Equal(got.STUN, want) {
			t.Errorf("%s: got %s, %v; want STUN at %v", tt.what, w.Body, err, want)
		}
		if got.ChangeRequest != tt.change || got.Seen != "198.51.100.9" {
			t.Errorf("%s: got CHANGE-REQUEST %q, seen %q; want %q and the client behind the proxy", tt.what, got.ChangeRequest, got.Seen, tt.change)
		}
		if token, err := base64.RawURLEncoding.DecodeString(got.Token); err != nil || len(token) < 16 || len(token) > 64 {
			t.Errorf("%s: got token %q, want 16 to 64 bytes in base64url", tt.what, got.Token)
		}
		if left := time.Until(got.Expires); left > tokenLife || left < tokenLife-2*time.Second {
			t.Errorf("%s: the token is good for %s, want %s", tt.what, left, tokenLife)
		}
		if c := w.Header().Get("Cache-Control"); c != "no-store" {
			t.Errorf("%s: got Cache-Control %q: a token must not be kept", tt.what, c)
		}
	}
}
