package turnsrv

import (
	"net/netip"
	"sync/atomic"
)

// PortRange is a range of ports, both ends included. The zero PortRange holds
// every port.
type PortRange struct{ Min, Max uint16 }

// Contains reports whether port lies in the range.
func (r PortRange) Contains(port uint16) bool {
	return r == PortRange{} || r.Min <= port && port <= r.Max
}

// PeerRule names the peers within a prefix, on some of their ports.
type PeerRule struct {
	Prefix netip.Prefix
	Ports  PortRange
}

// denyRule is what a peer in Peers.Deny is denied by.
const denyRule = "TURNKEY_DENY_PEERS"

// Peers decides which peers a relay may reach. What it permits, in this order:
//
//  1. nothing that Deny holds;
//  2. what Allow holds;
//  3. the server's own addresses on the ports of Relays only, where other
//     relayed transport addresses are, and never the services beside them;
//  4. nothing of the special-purpose addresses (IANA registries, RFC 6890):
//     loopback, private, link-local, multicast, cloud metadata and so on;
//  5. everything else.
//
// An IPv6 address that carries an IPv4 address (mapped, compatible, 6to4,
// NAT64, Teredo) is permitted only if the carried address is, too.
//
// The fields must not change once the server runs; SetOwn may be called at any time.
type Peers struct {
	Allow  []PeerRule
	Deny   []netip.Prefix
	Relays PortRange

	own atomic.Pointer[[]netip.Addr]
}

// SetOwn sets the server's own addresses: those of its interfaces and those it
// advertises.
func (p *Peers) SetOwn(addrs []netip.Addr) {
	own := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		own[i] = a.Unmap().WithZone("")
	}
	p.own.Store(&own)
}

// Permission returns why a permission for peer may not be installed, or "" if it
// may. A permission is for an address; its port is informative (RFC 8656
// section 9), and 0 stands for any. On the server's own addresses and where
// Allow names ports, a port that is given counts.
func (p *Peers) Permission(peer netip.AddrPort) (denied string) {
	return p.check(peer.Addr(), peer.Port(), peer.Port() == 0)
}

// Send returns why nothing may be sent to peer, or "" if it may. It does not allocate.
func (p *Peers) Send(peer netip.AddrPort) (denied string) {
	if peer.Port() == 0 {
		return "port 0"
	}
	return p.check(peer.Addr(), peer.Port(), false)
}

func (p *Peers) check(addr netip.Addr, port uint16, anyPort bool) string {
	if !addr.IsValid() {
		return "no address"
	}
	addr = addr.Unmap().WithZone("")
	if why := p.checkOne(addr, port, anyPort); why != "" {
		return why
	}
	if inner, ok := embedded(addr); ok {
		return p.checkOne(inner, port, anyPort)
	}
	return ""
}

func (p *Peers) checkOne(addr netip.Addr, port uint16, anyPort bool) string {
	for _, prefix := range p.Deny {
		if prefix.Contains(addr) {
			return denyRule
		}
	}
	for _, rule := range p.Allow {
		if rule.Prefix.Contains(addr) && (anyPort || rule.Ports.Contains(port)) {
			return ""
		}
	}
	if own := p.own.Load(); own != nil {
		for _, a := range *own {
			if a != addr {
				continue
			}
			if anyPort || p.Relays.Contains(port) {
				return ""
			}
			return "own address outside TURNKEY_RELAY_PORTS"
		}
	}
	for _, s := range specialNear(addr) {
		if s.prefix.Contains(addr) {
			return s.name
		}
	}
	return ""
}

// specialNear returns the special-purpose prefixes that may hold addr: those of
// its first byte. Every packet is looked at, and most have none.
func specialNear(addr netip.Addr) []special {
	if addr.Is4() {
		return specialV4ByByte[addr.As4()[0]]
	}
	return specialV6ByByte[addr.As16()[0]]
}

func byFirstByte(all []special) (index [256][]special) {
	for _, s := range all {
		first := int(s.prefix.Addr().AsSlice()[0])
		for i := range 1 << max(0, 8-s.prefix.Bits()) {
			index[first+i] = append(index[first+i], s)
		}
	}
	return index
}

var specialV4ByByte, specialV6ByByte = byFirstByte(specialV4[:]), byFirstByte(specialV6[:])

// embedded returns the IPv4 address that an IPv6 address carries. NAT64 prefixes
// other than the well-known one cannot be recognised.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() || addr.IsLoopback() || addr.IsUnspecified() { // the last two lie in ::/96 and carry nothing
		return netip.Addr{}, false
	}
	b := addr.As16()
	switch {
	case prefix6to4.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case prefixNAT64.Contains(addr), prefixCompatible.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case prefixTeredo.Contains(addr):
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), true
	}
	return netip.Addr{}, false
}

var (
	prefix6to4       = netip.MustParsePrefix("2002::/16")
	prefixNAT64      = netip.MustParsePrefix("64:ff9b::/96")
	prefixCompatible = netip.MustParsePrefix("::/96")
	prefixTeredo     = netip.MustParsePrefix("2001::/32")
)

type special struct {
	prefix netip.Prefix
	name   string
}

func named(prefix, what string) special {
	return special{netip.MustParsePrefix(prefix), prefix + " (" + what + ")"}
}

var specialV4 = [...]special{
	named("0.0.0.0/8", "this network"),
	named("10.0.0.0/8", "private"),
	named("100.64.0.0/10", "shared by carriers"),
	named("127.0.0.0/8", "loopback"),
	named("168.63.129.16/32", "cloud platform service"),
	named("169.254.0.0/16", "link-local, cloud metadata"),
	named("172.16.0.0/12", "private"),
	named("192.0.0.0/24", "protocol assignments"),
	named("192.0.2.0/24", "documentation"),
	named("192.31.196.0/24", "AS112"),
	named("192.52.193.0/24", "AMT"),
	named("192.88.99.0/24", "6to4 relay"),
	named("192.168.0.0/16", "private"),
	named("192.175.48.0/24", "AS112"),
	named("198.18.0.0/15", "benchmarking"),
	named("198.51.100.0/24", "documentation"),
	named("203.0.113.0/24", "documentation"),
	named("224.0.0.0/4", "multicast"),
	named("240.0.0.0/4", "reserved, broadcast"),
}

var specialV6 = [...]special{
	named("::/96", "unspecified, loopback, IPv4-compatible"),
	named("64:ff9b::/96", "NAT64"),
	named("64:ff9b:1::/48", "NAT64"),
	named("100::/64", "discard"),
	named("100:0:0:1::/64", "dummy"),
	named("2001::/23", "protocol assignments, Teredo"),
	named("2001:db8::/32", "documentation"),
	named("2002::/16", "6to4"),
	named("2620:4f:8000::/48", "AS112"),
	named("3fff::/20", "documentation"),
	named("5f00::/16", "segment routing"),
	named("fc00::/7", "private"),
	named("fe80::/10", "link-local"),
	named("fec0::/10", "site-local"),
	named("ff00::/8", "multicast"),
}
