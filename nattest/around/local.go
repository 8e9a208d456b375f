package around

import (
	"net/netip"
	"slices"
	"strings"
)

const notHere = "not on this system"

// local says by which interface this machine sends, from the address that the
// system chose towards the server.
func (c *Config) local(address netip.Addr) (Local, Finding) {
	l := Local{Address: address}
	if c.Interfaces == nil {
		l.Why = notHere
		return l, Finding{NotTested, notHere}
	}
	list, err := c.Interfaces()
	if err != nil {
		l.Why = "the interfaces of this machine cannot be listed: " + err.Error()
		return l, Finding{Unknown, l.Why}
	}
	i := slices.IndexFunc(list, func(i Interface) bool { return i.has(address) })
	if i < 0 {
		l.Why = "no interface has the address " + address.String()
		return l, Finding{Unknown, l.Why}
	}
	out := list[i]
	l.Interface, l.Kind, l.MTU, l.Addresses = out.Name, out.Kind, out.MTU, out.Addresses
	var routes []Route
	switch {
	case c.Routes == nil:
		l.Why = "the default route: " + notHere
	default:
		if routes, err = c.Routes(); err != nil {
			l.Why = "the default route cannot be read: " + err.Error()
		}
	}
	if i := slices.IndexFunc(routes, func(r Route) bool { return r.Interface == out.Name && r.Gateway.IsValid() }); i >= 0 {
		l.Gateway = routes[i].Gateway
	}
	return l, vpn(out, list, routes)
}

func (i *Interface) has(a netip.Addr) bool {
	return slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
}

// vpn says whether packets to the server leave through a VPN. One that leads
// elsewhere does not bear on the NAT and is only named.
func vpn(out Interface, all []Interface, routes []Route) Finding {
	if what := tunnel(out); what != "" {
		return Finding{Yes, "packets to the server leave through " + what + ", so the NAT and the addresses are those of its other end"}
	}
	if out.Kind == "ppp" || strings.HasPrefix(out.Name, "ppp") {
		return Finding{Unknown, out.Name + " is a dialed line, which may be a VPN or the line of the operator"}
	}
	f := Finding{State: No}
	for _, i := range all {
		what := tunnel(i)
		switch {
		case what == "" || len(i.Addresses) == 0:
		case len(routes) > 0 && routes[0].Interface == i.Name:
			f.Why = "the default route leads through " + what + ", yet packets to the server leave through " + out.Name
			return f
		case f.Why == "":
			f.Why = what + " is up, yet packets to the server leave through " + out.Name
		}
	}
	return f
}

// tunnels are what systems call interfaces of VPNs, names those that VPNs give
// to theirs (followed by a number or nothing).
var (
	tunnels = []string{"wireguard", "tun", "ipip", "gre", "sit", "vti", "xfrm", "ip6tnl", "ipsec", "utun"}
	names   = []string{"wg", "tun", "tap", "utun", "tailscale", "ipsec", "zt", "nordlynx", "proton", "mullvad", "wgpia"}
)

// tunnel describes an interface that is a VPN's by its kind or its name.
func tunnel(i Interface) string {
	if slices.Contains(tunnels, i.Kind) {
		return i.Name + " (" + i.Kind + ")"
	}
	rest := strings.TrimRight(i.Name, "0123456789")
	if slices.Contains(names, strings.ToLower(rest)) || strings.HasPrefix(i.Name, "zt") && len(i.Name) == 10 {
		return i.Name
	}
	return ""
}
