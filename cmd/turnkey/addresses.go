package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"turnkey/configs"
	"turnkey/turnsrv"
)

// ifaceAddr is one address of one network interface that is up.
type ifaceAddr struct {
	iface string
	addr  netip.Addr
}

// interfaceAddrs lists the addresses of this machine, in the system's order.
func interfaceAddrs() ([]ifaceAddr, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var list []ifaceAddr
	for _, i := range ifaces {
		addrs, err := i.Addrs()
		if err != nil || i.Flags&net.FlagUp == 0 {
			continue
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				list = append(list, ifaceAddr{i.Name, prefix.Addr().Unmap().WithZone("")})
			}
		}
	}
	return list, nil
}

// outbound returns the address from which this machine would reach the
// internet, or the zero Addr. Nothing is sent: connecting a UDP socket only
// asks the routing table.
func outbound() netip.Addr {
	conn, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// listenAddrs returns the addresses to bind: those that are asked for, or each
// global and each loopback address. Bound one by one, they make sure that an
// answer leaves from the address that was asked.
func listenAddrs(asked []netip.Addr, ifaces []ifaceAddr) []netip.Addr {
	if len(asked) > 0 {
		return asked
	}
	var list []netip.Addr
	for _, i := range ifaces {
		if (i.addr.IsGlobalUnicast() || i.addr.IsLoopback()) && !slices.Contains(list, i.addr) {
			list = append(list, i.addr)
		}
	}
	return list
}

// public is the address that relays are advertised at.
type public struct {
	addr netip.Addr
	from string // how it was found
	hint string // what to do if it is not the right one; empty if it is
}

// findPublic chooses among the addresses that are bound, without asking the
// network: a public one, else the one towards the internet, else any, else
// loopback.
func findPublic(bound []netip.Addr, ifaces []ifaceAddr, outbound netip.Addr) public {
	var lan, loopback netip.Addr
	for _, a := range bound {
		switch {
		case !a.Is4():
		case a.IsLoopback():
			if !loopback.IsValid() {
				loopback = a
			}
		case isPublic(a):
			return public{addr: a, from: "on interface " + ifaceOf(a, ifaces)}
		case !lan.IsValid() || a == outbound:
			lan = a
		}
	}
	const hint = "clients outside cannot reach it; if this machine has a public address in front of it, set TURNKEY_PUBLIC_IP"
	if lan.IsValid() {
		return public{lan, "private address of interface " + ifaceOf(lan, ifaces) + "; no interface has a public one", hint}
	}
	if !loopback.IsValid() {
		loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return public{loopback, "loopback; no interface has another IPv4 address", hint}
}

// findIPv6 chooses the address of IPv6 relays among those that are bound: a
// public one, else any but loopback, else none. IPv6 has no 1:1 NAT to look for.
func findIPv6(bound []netip.Addr) (found netip.Addr) {
	for _, a := range bound {
		switch {
		case !a.Is6() || a.IsLoopback():
		case isPublic(a):
			return a
		case !found.IsValid():
			found = a
		}
	}
	return found
}

// findAlternate completes TURNKEY_ALT_IP by the address that it leads to: the
// same one if that is bound, else, behind a 1:1 NAT, the only private one beside
// primary.
func findAlternate(alt configs.AltIP, bound []netip.Addr, primary netip.Addr) (configs.AltIP, error) {
	if !alt.Addr.IsValid() {
		return alt, nil
	}
	var private []netip.Addr
	for _, a := range bound {
		if a.Is4() == alt.Addr.Is4() && a != primary && !a.IsLoopback() && !isPublic(a) {
			private = append(private, a)
		}
	}
	fault, set := "", alt
	switch {
	case alt.Bound.IsValid():
	case slices.Contains(bound, alt.Addr):
		alt.Bound = alt.Addr
	case len(private) == 1:
		alt.Bound = private[0]
	case len(private) > 1:
		fault = fmt.Sprintf("it may lead to %s; write which, e.g. TURNKEY_ALT_IP=%s/%s", join(private), set, private[0])
	default:
		fault = "this machine has no second address that it could lead to; add one to an interface, and to TURNKEY_LISTEN if that is set"
	}
	switch {
	case fault != "":
	case !primary.IsValid() || !slices.Contains(bound, alt.Bound):
		fault = fmt.Sprintf("this machine does not have two such addresses, or does not listen on %s; correct it", alt.Bound)
	case alt.Bound == primary:
		fault = fmt.Sprintf("%s is the first address of this machine already; swap it with TURNKEY_PUBLIC_IP, or name another", alt.Bound)
	}
	if fault != "" {
		return alt, fmt.Errorf("find the address of TURNKEY_ALT_IP=%s: %s", set, fault)
	}
	return alt, nil
}

// isPublic reports whether a relay may reach a by default, which is when it is
// of no special purpose.
func isPublic(a netip.Addr) bool {
	return new(turnsrv.Peers).Permission(netip.AddrPortFrom(a, 0)) == ""
}

func ifaceOf(a netip.Addr, ifaces []ifaceAddr) string {
	for _, i := range ifaces {
		if i.addr == a {
			return i.iface
		}
	}
	return "unknown"
}

// relayBind returns the address that relay sockets are bound to: the advertised
// one if it is of this machine, else the one towards the internet.
func relayBind(advertised netip.Addr, bound []netip.Addr, outbound netip.Addr) netip.Addr {
	for _, a := range []netip.Addr{advertised, outbound} {
		if slices.Contains(bound, a) {
			return a
		}
	}
	return findPublic(bound, nil, outbound).addr
}
