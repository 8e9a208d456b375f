package turnsrv

import (
	"net/netip"
	"slices"
	"testing"
)

func TestPeers(t *testing.T) {
	public, own6 := netip.MustParseAddr("198.41.0.4"), netip.MustParseAddr("2606:4700::1")
	plain := func() *Peers { return &Peers{Relays: PortRange{49160, 49359}} }
	with := func(change func(*Peers)) *Peers { p := plain(); change(p); return p }
	allow := func(prefix string, ports PortRange) func(*Peers) {
		return func(p *Peers) { p.Allow = append(p.Allow, PeerRule{netip.MustParsePrefix(prefix), ports}) }
	}
	deny := func(prefix string) func(*Peers) {
		return func(p *Peers) { p.Deny = append(p.Deny, netip.MustParsePrefix(prefix)) }
	}
	for _, tt := range []struct {
		name  string
		peers *Peers
		peer  string
		send  bool // may be sent to; a permission is granted alike
	}{
		{"public", plain(), "8.8.8.8:53", true},
		{"public IPv6", plain(), "[2a00:1450::1]:443", true},
		{"loopback", plain(), "127.0.0.1:80", false},
		{"loopback, another", plain(), "127.8.8.8:80", false},
		{"unspecified", plain(), "0.0.0.0:80", false},
		{"private", plain(), "10.1.2.3:80", false},
		{"metadata", plain(), "169.254.169.254:80", false},
		{"Azure's platform", plain(), "168.63.129.16:80", false},
		{"beside Azure's platform", plain(), "168.63.129.17:80", true},
		{"carrier", plain(), "100.127.255.255:80", false},
		{"beside carrier", plain(), "100.128.0.0:80", true},
		{"broadcast", plain(), "255.255.255.255:80", false},
		{"multicast", plain(), "224.0.0.251:5353", false},
		{"IPv6 loopback", plain(), "[::1]:80", false},
		{"IPv6 unspecified", plain(), "[::]:80", false},
		{"IPv6 link-local with zone", plain(), "[fe80::1%eth0]:80", false},
		{"unique local", plain(), "[fd00::1]:80", false},
		{"mapped loopback", plain(), "[::ffff:127.0.0.1]:80", false},
		{"mapped metadata", plain(), "[::ffff:169.254.169.254]:80", false},
		{"mapped public", plain(), "[::ffff:8.8.8.8]:80", true},
		{"compatible loopback", plain(), "[::127.0.0.1]:80", false},
		{"6to4 of private", plain(), "[2002:0a01:0203::1]:80", false},
		{"NAT64 of loopback", plain(), "[64:ff9b::127.0.0.1]:80", false},
		{"Teredo", plain(), "[2001:0:1::]:80", false},
		{"port 0", plain(), "8.8.8.8:0", false},

		{"own, relay port", plain(), "198.41.0.4:49160", true},
		{"own, last relay port", plain(), "198.41.0.4:49359", true},
		{"own, below", plain(), "198.41.0.4:49159", false},
		{"own, a service", plain(), "198.41.0.4:5432", false},
		{"own, mapped, a service", plain(), "[::ffff:198.41.0.4]:5432", false},
		{"own IPv6, relay port", plain(), "[2606:4700::1]:49200", true},
		{"own IPv6, a service", plain(), "[2606:4700::1]:22", false},

		{"allowed private", with(allow("10.0.0.0/8", PortRange{})), "10.1.2.3:80", true},
		{"allowed port", with(allow("10.0.0.0/8", PortRange{7000, 7010})), "10.1.2.3:7005", true},
		{"beside allowed port", with(allow("10.0.0.0/8", PortRange{7000, 7010})), "10.1.2.3:7011", false},
		{"allowed service on own address", with(allow("198.41.0.4/32", PortRange{7880, 7880})), "198.41.0.4:7880", true},
		{"another service on own address", with(allow("198.41.0.4/32", PortRange{7880, 7880})), "198.41.0.4:7881", false},
		{"denied public", with(deny("8.8.8.0/24")), "8.8.8.8:53", false},
		{"denied public, mapped", with(deny("8.8.8.0/24")), "[::ffff:8.8.8.8]:53", false},
		{"denied wins over allowed", with(func(p *Peers) { allow("10.0.0.0/8", PortRange{})(p); deny("10.1.0.0/16")(p) }), "10.1.2.3:80", false},
		{"denied wins over own", with(deny("198.41.0.4/32")), "198.41.0.4:49160", false},
		{"allowed NAT64 of public", with(allow("64:ff9b::/96", PortRange{})), "[64:ff9b::8.8.8.8]:80", true},
		{"allowed NAT64 of private", with(allow("64:ff9b::/96", PortRange{})), "[64:ff9b::10.0.0.1]:80", false},
		{"allowed 6to4 of private", with(allow("2002::/16", PortRange{})), "[2002:0a01:0203::1]:80", false},
		{"allowed Teredo of private", with(allow("2001::/32", PortRange{})), "[2001:0:1:2:3:4:f5ff:fffe]:80", false},
		{"allowed Teredo of public", with(allow("2001::/32", PortRange{})), "[2001:0:1:2:3:4:f7f7:f7f7]:80", true},
	} {
		tt.peers.SetOwn([]netip.Addr{public, own6})
		peer := netip.MustParseAddrPort(tt.peer)
		if got := tt.peers.Send(peer); (got == "") != tt.send {
			t.Errorf("%s: send to %s: got %q, want permitted %v", tt.name, tt.peer, got, tt.send)
		}
		if peer.Port() == 0 {
			continue
		}
		if got := tt.peers.Permission(peer); (got == "") != tt.send {
			t.Errorf("%s: permission for %s: got %q, want permitted %v", tt.name, tt.peer, got, tt.send)
		}
	}
}

// Every special-purpose prefix holds from its first address to its last, and no
// further.
func TestSpecialPrefixesHoldWhollyAndNoMore(t *testing.T) {
	holds := func(a netip.Addr) bool {
		all := specialV6[:]
		if a.Is4() {
			all = specialV4[:]
		}
		return slices.ContainsFunc(all, func(s special) bool { return s.prefix.Contains(a) })
	}
	p, seen := &Peers{}, 0
	for _, s := range slices.Concat(specialV4[:], specialV6[:]) {
		first := s.prefix.Addr()
		last := first.AsSlice()
		for bit := s.prefix.Bits(); bit < 8*len(last); bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
		}
		end, _ := netip.AddrFromSlice(last)
		middle := slices.Clone(last)
		middle[len(middle)-1] ^= 1
		inside, _ := netip.AddrFromSlice(middle)
		for _, a := range []netip.Addr{first.Prev(), first, inside, end, end.Next()} {
			if !a.IsValid() { // before the first of all, or after the last
				continue
			}
			seen++
			if got := p.Send(netip.AddrPortFrom(a, 80)); (got != "") != holds(a) {
				t.Errorf("%v, near %s: got %q, want denied %v", a, s.name, got, holds(a))
			}
		}
	}
	if seen < 4*(len(specialV4)+len(specialV6)) {
		t.Errorf("looked at %d addresses only", seen)
	}
}

// A permission without a port stands for any port that may be sent to.
func TestPermissionWithoutPort(t *testing.T) {
	p := &Peers{Relays: PortRange{49160, 49359}, Allow: []PeerRule{{netip.MustParsePrefix("10.0.0.9/32"), PortRange{80, 80}}}}
	p.SetOwn([]netip.Addr{netip.MustParseAddr("198.41.0.4")})
	for peer, want := range map[string]bool{"198.41.0.4": true, "10.0.0.9": true, "10.0.0.8": false, "8.8.8.8": true} {
		got := p.Permission(netip.AddrPortFrom(netip.MustParseAddr(peer), 0))
		if (got == "") != want {
			t.Errorf("%s: got %q, want granted %v", peer, got, want)
		}
	}
}

func TestPeersDoNotAllocate(t *testing.T) {
	p := &Peers{Relays: PortRange{49160, 49359}}
	p.SetOwn([]netip.Addr{netip.MustParseAddr("198.41.0.4")})
	for _, peer := range []string{"8.8.8.8:53", "10.0.0.1:1", "[2a00:1450::1]:443", "[::ffff:10.0.0.1]:1"} {
		addr := netip.MustParseAddrPort(peer)
		if n := testing.AllocsPerRun(100, func() { p.Send(addr) }); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", peer, n)
		}
	}
}

func BenchmarkPeersSend(b *testing.B) {
	p := &Peers{Relays: PortRange{49160, 49359}}
	p.SetOwn([]netip.Addr{netip.MustParseAddr("198.41.0.4"), netip.MustParseAddr("2606:4700::1")})
	addr := netip.MustParseAddrPort("8.8.8.8:53")
	b.ReportAllocs()
	for b.Loop() {
		p.Send(addr)
	}
}
