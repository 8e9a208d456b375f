package nattest

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// wellKnown64 is the well-known prefix of RFC 6052 section 2.1.
var wellKnown64 = netip.MustParsePrefix("64:ff9b::/96")

// embed puts an IPv4 address into a prefix (RFC 6052 section 2.2).
func embed(p netip.Prefix, v4 netip.Addr) netip.Addr {
	b, quad := p.Masked().Addr().As16(), v4.As4()
	for i, at := range places64(p) {
		b[at] = quad[i]
	}
	return netip.AddrFrom16(b)
}

// embedded is the IPv4 address inside an address with that prefix.
func embedded(p netip.Prefix, v6 netip.Addr) netip.Addr {
	b := v6.As16()
	var quad [4]byte
	for i, at := range places64(p) {
		quad[i] = b[at]
	}
	return netip.AddrFrom4(quad)
}

// places64 is where the bytes of the IPv4 address are; byte 8 stays zero.
func places64(p netip.Prefix) (at [4]int) {
	next := p.Bits() / 8
	for i := range at {
		if next == 8 {
			next++
		}
		at[i] = next
		next++
	}
	return at
}

// nat64Prefix asks the resolver for the prefix of the network's NAT64 (RFC 7050).
func (c *Config) nat64Prefix(ctx context.Context) (netip.Prefix, bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	found, err := c.Resolve(ctx, "ipv4only.arpa")
	if err != nil {
		return netip.Prefix{}, false
	}
	for _, a := range found {
		if !a.Is6() || a.Is4In6() {
			continue
		}
		for _, bits := range []int{96, 64, 56, 48, 40, 32} {
			p := netip.PrefixFrom(a, bits).Masked()
			if v4 := embedded(p, a); v4 == netip.AddrFrom4([4]byte{192, 0, 0, 170}) || v4 == netip.AddrFrom4([4]byte{192, 0, 0, 171}) {
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}

// beyondNAT64 lists the endpoints that a machine without IPv4 tests over IPv6:
// the server's own, or else those of IPv4 through the network's NAT64.
func (c *Config) beyondNAT64(ctx context.Context, v4, v6 []netip.AddrPort) ([]netip.AddrPort, netip.Prefix) {
	prefix := wellKnown64
	if len(v4) > 0 {
		if _, kept, _ := c.egress(ctx, "udp4", v4); len(kept) > 0 {
			return v6, prefix
		}
		if p, ok := c.nat64Prefix(ctx); ok {
			prefix = p
			for _, ep := range v4 {
				if ep = netip.AddrPortFrom(embed(p, ep.Addr()), ep.Port()); !slices.Contains(v6, ep) {
					v6 = append(v6, ep)
				}
			}
		}
	}
	native := slices.DeleteFunc(slices.Clone(v6), func(ep netip.AddrPort) bool { return prefix.Contains(ep.Addr()) })
	if len(native) > 0 { // the two ways are two mappings
		return native, prefix
	}
	return v6, prefix
}

// through is an address that the server names, as this family reaches it: an
// IPv4 address is beyond the NAT64. Zero where there is no way.
func (p *probe) through(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() || len(p.own) == 0 || a.Addr().Is4() == p.own[0].Addr().Is4() {
		return a
	}
	if a.Addr().Is4() && p.nat64.IsValid() && p.nat64.Contains(p.own[0].Addr()) {
		return netip.AddrPortFrom(embed(p.nat64, a.Addr()), a.Port())
	}
	return netip.AddrPort{}
}

// beyond is an endpoint as the server knows it.
func (p *probe) beyond(a netip.AddrPort) netip.AddrPort {
	if a.Addr().Is6() && p.nat64.IsValid() && p.nat64.Contains(a.Addr()) {
		return netip.AddrPortFrom(embedded(p.nat64, a.Addr()), a.Port())
	}
	return a
}
