package main

import (
	"net/netip"
	"strings"
	"testing"

	"turnkey/configs"
	"turnkey/stunsrv"
)

// The alternate of each address, and what clients see of both.
func TestAlternates(t *testing.T) {
	for _, tt := range []struct {
		name, listen, advertised, alt string
		chosen                        bool
		want                          string // bound=seen>alternate, of each one with an alternate
	}{
		{"one", "127.0.0.1 8.8.4.4 ::1 2a00::1", "8.8.4.4", "", false, ""},
		{"two public", "127.0.0.1 10.0.0.1 8.8.4.4 8.8.8.8", "8.8.4.4", "", false, "8.8.4.4=8.8.4.4>8.8.8.8 8.8.8.8=8.8.8.8>8.8.4.4"},
		{"three public", "8.8.4.1 8.8.4.2 8.8.4.3", "8.8.4.2", "", false, "8.8.4.1=8.8.4.1>8.8.4.2 8.8.4.2=8.8.4.2>8.8.4.3 8.8.4.3=8.8.4.3>8.8.4.1"},
		{"two of IPv6", "8.8.4.4 2a00::1 2a00::2", "8.8.4.4", "", false, "2a00::1=2a00::1>2a00::2 2a00::2=2a00::2>2a00::1"},
		{"two of IPv6, one of them temporary", "2a00::1 2a00::ffff", "8.8.4.4", "", false, ""},
		{"two of IPv6, one of them temporary, chosen", "2a00::1 2a00::ffff", "8.8.4.4", "", true, "2a00::1=2a00::1>2a00::ffff 2a00::ffff=2a00::ffff>2a00::1"},
		{"two private that nobody chose", "10.0.0.1 172.17.0.1", "10.0.0.1", "", false, ""},
		{"two private that were chosen", "10.0.0.1 10.0.0.2", "10.0.0.1", "", true, "10.0.0.1=10.0.0.1>10.0.0.2 10.0.0.2=10.0.0.2>10.0.0.1"},
		{"public, private and loopback", "127.0.0.1 10.0.0.1 8.8.4.4", "8.8.4.4", "", true, ""},
		{"1:1 NAT of one address", "10.0.0.1 10.0.0.2", "8.8.4.4", "", true, ""},
		{"1:1 NAT of two", "127.0.0.1 10.0.0.1 10.0.0.2", "8.8.4.4", "8.8.8.8", false, "10.0.0.1=8.8.4.4>10.0.0.2 10.0.0.2=8.8.8.8>10.0.0.1"},
		{"1:1 NAT of two among more", "10.0.0.1 10.0.0.2 10.0.0.3", "8.8.4.4", "8.8.8.8/10.0.0.3", true, "10.0.0.1=8.8.4.4>10.0.0.3 10.0.0.3=8.8.8.8>10.0.0.1"},
		{"the second of two documentation addresses", "203.0.113.1 203.0.113.2", "203.0.113.1", "203.0.113.2", false, "203.0.113.1=203.0.113.1>203.0.113.2 203.0.113.2=203.0.113.2>203.0.113.1"},
		{"IPv6 chosen", "10.0.0.1 2a00::1 2a00::2 2a00::3", "8.8.4.4", "2a00::3", false, "2a00::1=2a00::1>2a00::3 2a00::3=2a00::3>2a00::1"},
	} {
		s := &surroundings{listen: addrs(strings.Fields(tt.listen)...), chosen: tt.chosen, fleeting: addrs("2a00::ffff")}
		s.relay6 = findIPv6(s.listen)
		found := public{addr: netip.MustParseAddr(tt.advertised)}
		s.relay = relayBind(found.addr, s.listen, netip.Addr{})
		s.advertised.Store(&found)
		if tt.alt != "" {
			var alt configs.AltIP
			if err := alt.UnmarshalText([]byte(tt.alt)); err != nil {
				t.Fatal(err)
			}
			var err error
			if s.alt, err = findAlternate(alt, s.listen, s.primary(alt.Addr)); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		all := s.alternates()
		var got []string
		for _, a := range s.listen {
			if own := all[a]; own.partner.IsValid() {
				got = append(got, a.String()+"="+own.addr.String()+">"+own.partner.String())
			}
		}
		if strings.Join(got, " ") != tt.want || len(all) != len(s.listen) {
			t.Errorf("%s: got %v, want %s", tt.name, got, tt.want)
		}
	}
}

// Behind a 1:1 NAT of two addresses, sites name those that clients reach.
func TestPlaces(t *testing.T) {
	s := serverFor("", "8.8.4.4", "10.0.0.1 10.0.0.2")
	s.around.alt = configs.AltIP{Addr: netip.MustParseAddr("8.8.8.8"), Bound: netip.MustParseAddr("10.0.0.2")}
	s.stun.publish(s.around.alternates())
	where := func(at string) *stunsrv.Place {
		return s.stun.of(fakeConn{at: netip.MustParseAddrPort(at)})(netip.AddrPort{})
	}
	for at, want := range map[string]string{
		"10.0.0.1:3478": "8.8.4.4:3478 8.8.4.4:3479 8.8.8.8:3478 8.8.8.8:3479",
		"10.0.0.1:3479": "8.8.4.4:3479 8.8.4.4:3478 8.8.8.8:3479 8.8.8.8:3478",
		"10.0.0.2:3478": "8.8.8.8:3478 8.8.8.8:3479 8.8.4.4:3478 8.8.4.4:3479",
		"10.0.0.2:3479": "8.8.8.8:3479 8.8.8.8:3478 8.8.4.4:3479 8.8.4.4:3478",
	} {
		p := where(at)
		var got []string
		for change, addr := range p.Site {
			got = append(got, addr.String())
			if change == 0 {
				continue
			}
			sender := p.Via[change].(fakeConn).at
			if seen := (*s.stun.seen.Load())[sender.Addr()].addr; netip.AddrPortFrom(seen, sender.Port()) != addr {
				t.Errorf("%s, change %d: sent from %s, which clients see as %s, want %s", at, change, sender, seen, addr)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", at, got, want)
		}
	}
	if list := s.stun.hosts(netip.MustParseAddr("8.8.4.4")); len(list) != 2 || list[1].String() != "8.8.8.8" {
		t.Errorf("got hosts %v, want both public addresses", list)
	}
}
