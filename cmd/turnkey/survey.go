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
	listen []netip.Addr
	chosen bool         // listen is what TURNKEY_LISTEN says
	relay  netip.Addr   // IPv4 relay sockets are bound to it
	relay6 netip.Addr   // IPv6 relay sockets are bound to it and advertised at it; invalid = none
	own    []netip.Addr // of this machine's interfaces
	name   string       // of this server, or empty

	advertised atomic.Pointer[public]
}

// survey looks at this machine and never at the network: follow asks that
// later, so that the start waits for nobody.
func survey(cfg configs.Config) (*surroundings, error) {
	ifaces, err := interfaceAddrs()
	if err != nil {
		return nil, err
	}
	towards := outbound()
	s := &surroundings{listen: listenAddrs(cfg.Listen, ifaces), chosen: len(cfg.Listen) > 0}
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
func (s *surroundings) ownAddrs() []netip.Addr { return append(slices.Clone(s.own), s.advertise()) }

// alternates says at which address clients reach each one that is bound, and
// which of them is its alternate.
func (s *surroundings) alternates() map[netip.Addr]seen {
	return alternates(s.listen, s.chosen, map[netip.Addr]netip.Addr{s.relay: s.advertise()})
}
