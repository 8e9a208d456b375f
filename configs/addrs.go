package configs

import (
	"fmt"
	"net/netip"
	"strings"
)

// PeerRule names peers that relays may reach although they are denied by default.
type PeerRule struct {
	Prefix netip.Prefix // masked; never an IPv4 prefix in its IPv6 form
	Ports  PortRange    // the zero range is every port
}

// UnmarshalText reads prefix[:port[-port]]. The prefix may be a single address; in IPv6 it stands in
// brackets if ports follow.
func (r *PeerRule) UnmarshalText(text []byte) error {
	rule, err := parsePeerRule(string(text))
	if err != nil {
		return err
	}
	*r = rule
	return nil
}

// String is the form that UnmarshalText reads.
func (r PeerRule) String() string {
	switch {
	case r.Ports == PortRange{}:
		return r.Prefix.String()
	case r.Prefix.Addr().Is4():
		return fmt.Sprintf("%s:%s", r.Prefix, r.Ports)
	}
	return fmt.Sprintf("[%s]:%s", r.Prefix, r.Ports)
}

func parsePeerRule(s string) (PeerRule, error) {
	malformed := &problem{"not of the form prefix[:port[-port]]", "write e.g. 10.0.0.0/8, 10.0.0.5:5000-5999 or [fd00::/8]:443"}
	prefix, ports, hasPorts := s, "", false
	if inner, bracketed := strings.CutPrefix(s, "["); bracketed {
		rest, closed := "", false
		prefix, rest, closed = strings.Cut(inner, "]")
		if ports, hasPorts = strings.CutPrefix(rest, ":"); !closed || !hasPorts && rest != "" {
			return PeerRule{}, malformed
		}
	} else if strings.Count(s, ":") == 1 {
		prefix, ports, hasPorts = strings.Cut(s, ":")
	}
	var rule PeerRule
	var err error
	if rule.Prefix, err = parsePrefix(prefix); err != nil {
		if strings.Contains(s, ":") {
			return PeerRule{}, malformed
		}
		return PeerRule{}, err
	}
	if hasPorts {
		if err := rule.Ports.UnmarshalText([]byte(ports)); err != nil {
			return PeerRule{}, err
		}
	}
	return rule, nil
}

// parsePrefix reads a prefix or a single address. Host bits are refused, not dropped: 10.1.2.3/8 is
// more likely a slip than a wish for 10.0.0.0/8.
func parsePrefix(s string) (netip.Prefix, error) {
	var prefix netip.Prefix
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	} else if prefix, err = netip.ParsePrefix(s); err != nil {
		return netip.Prefix{}, &problem{"not an address or prefix", "write e.g. 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"}
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, &problem{fmt.Sprintf("bits are set behind the first %d", prefix.Bits()),
			fmt.Sprintf("write %s, or %s for that one address", prefix.Masked(), prefix.Addr())}
	}
	if addr := prefix.Addr(); addr.Is4In6() { // no bits behind the prefix, so it has 96 or more
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
	}
	return prefix, nil
}

func parseListenAddr(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return addr, &problem{"not an IP address", "write e.g. 192.0.2.7,2001:db8::7"}
	case addr.Unmap().IsUnspecified():
		return addr, &problem{"a wildcard hides the address at which a packet arrived", "leave it unset to listen on each address, or name the addresses"}
	case !unicast(addr):
		return addr, &problem{"not an address to listen on", "name an address of this machine"}
	}
	return addr.Unmap(), nil
}

// unicast reports whether a packet can be sent to addr and reach one host.
func unicast(addr netip.Addr) bool {
	addr = addr.Unmap()
	return !addr.IsUnspecified() && !addr.IsMulticast() && addr != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
