package main

import (
	"cmp"
	"net/netip"
	"slices"
	"sync/atomic"

	"turnkey/configs"
)

// surroundings are what a server knows of its network: where to listen, what to
// advertise, and which name to put into URLs.
type surroundings struct {
	listen   []netip.Addr
	chosen   bool          // listen is what TURNKEY_LISTEN says
	alt      configs.AltIP // the second address, Bound among listen; invalid = not set
	relay    netip.Addr    // IPv4 relay sockets are bound to it
	relay6   netip.Addr    // IPv6 relay sockets are bound to it and advertised at it; invalid = none
	own      []netip.Addr  // of this machine's interfaces
	fleeting []netip.Addr  // those of own that it will drop by itself
	name     string        // of this server, or empty

	advertised atomic.Pointer[public]
}

// survey looks at this machine and never at the network: follow asks that
// later, so that the start waits for nobody.
func survey(cfg configs.Config) (*surroundings, error) {
	ifaces, err := interfaceAddrs()
	if err != nil {
		return nil, err
	}
	passing := fleeting()
	slices.SortStableFunc(ifaces, func(a, b ifaceAddr) int { // those that last come first
		return cmp.Compare(slices.Index(passing, a.addr), slices.Index(passing, b.addr))
	})
	towards := outbound()
	s := &surroundings{listen: listenAddrs(cfg.Listen, ifaces), chosen: len(cfg.Listen) > 0, fleeting: passing}
	for _, i := range ifaces {
		s.own = append(s.own, i.addr)
	}
	found := findPublic(s.listen, ifaces, towards)
	s.relay6 = findIPv6(s.listen)
	s.relay = relayBind(found.addr, s.listen, towards)
	switch p := cfg.PublicIP; {
	case p.Addr.IsValid():
		found = public{addr: p.Addr, from: "TURNKEY_PUBLIC_IP"}
		s.relay = relayBind(p.Addr, s.listen, towards)
	case p.DNS != "":
		found.from = "until " + p.DNS + " is resolved: " + found.from
		found.hint = ""
	}
	if s.alt, err = findAlternate(cfg.AltIP, s.listen, s.primary(cfg.AltIP.Addr)); err != nil {
		return nil, err
	}
	s.advertised.Store(&found)
	s.name = cmp.Or(cfg.Host, cfg.PublicIP.DNS)
	return s, nil
}

// public returns the address at which peers reach relays, and how it was found.
func (s *surroundings) public() public { return *s.advertised.Load() }

// advertise returns that address alone.
func (s *surroundings) advertise() netip.Addr { return s.public().addr }

// host returns what stands in URLs: the name of this server, else its address.
func (s *surroundings) host() string { return cmp.Or(s.name, s.advertise().String()) }

// ownAddrs returns the addresses of this machine, seen from inside and outside.
func (s *surroundings) ownAddrs() []netip.Addr {
	own := append(slices.Clone(s.own), s.advertise())
	if s.alt.Addr.IsValid() {
		own = append(own, s.alt.Addr)
	}
	return own
}

// primary returns the address that is bound for what is advertised in the
// family of a.
func (s *surroundings) primary(a netip.Addr) netip.Addr {
	if a.Is6() {
		return s.relay6
	}
	return s.relay
}

// alternates says at which address clients reach each one that is bound, and
// which of them is its alternate. Of addresses that nobody has chosen only
// public ones that last are paired: what is private may be the way to another
// network.
func (s *surroundings) alternates() map[netip.Addr]seen {
	outside := map[netip.Addr]netip.Addr{}
	if a := s.advertise(); a.Is4() == s.relay.Is4() {
		outside[s.relay] = a
	}
	lonely := func(bound, seen netip.Addr) bool {
		return !s.chosen && (!isPublic(seen) || slices.Contains(s.fleeting, bound))
	}
	if !s.alt.Addr.IsValid() {
		return alternates(s.listen, outside, lonely)
	}
	first := s.primary(s.alt.Addr)
	others := slices.DeleteFunc(slices.Clone(s.listen), func(a netip.Addr) bool { return a == first || a == s.alt.Bound })
	all := alternates(others, outside, lonely)
	all[s.alt.Bound] = seen{s.alt.Addr, first}
	all[first] = seen{cmp.Or(outside[first], first), s.alt.Bound}
	return all
}
