package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"turnkey/configs"
)

// surroundings are what a server knows of its network: where to listen, what to
// advertise, and which name to put into URLs.
type surroundings struct {
	listen []netip.Addr
	relay  netip.Addr   // IPv4 relay sockets are bound to it
	relay6 netip.Addr   // IPv6 relay sockets are bound to it and advertised at it; invalid = none
	own    []netip.Addr // of this machine's interfaces
	host   string

	public     public
	advertised atomic.Pointer[netip.Addr] // public.addr, or what its name resolves to by now
}

// survey looks at this machine and never at the network, but for `dns:` names,
// which follow resolves later.
func survey(cfg configs.Config) (*surroundings, error) {
	ifaces, err := interfaceAddrs()
	if err != nil {
		return nil, err
	}
	towards := outbound()
	s := &surroundings{listen: listenAddrs(cfg.Listen, ifaces)}
	for _, i := range ifaces {
		s.own = append(s.own, i.addr)
	}
	s.public = findPublic(s.listen, ifaces, towards)
	s.relay6 = findIPv6(s.listen)
	s.relay = relayBind(s.public.addr, s.listen, towards)
	switch p := cfg.PublicIP; {
	case p.Addr.IsValid():
		s.public = public{addr: p.Addr, from: "TURNKEY_PUBLIC_IP"}
		s.relay = relayBind(p.Addr, s.listen, towards)
	case p.DNS != "":
		s.public.from = "until " + p.DNS + " is resolved: " + s.public.from
		s.public.hint = ""
	}
	s.advertised.Store(&s.public.addr)
	s.host = cfg.Host
	if s.host == "" {
		s.host = cfg.PublicIP.DNS
	}
	if s.host == "" {
		s.host = s.public.addr.String()
	}
	return s, nil
}

// advertise returns the address at which peers reach relays.
func (s *surroundings) advertise() netip.Addr { return *s.advertised.Load() }

// ownAddrs returns the addresses of this machine, seen from inside and outside.
func (s *surroundings) ownAddrs() []netip.Addr { return append(slices.Clone(s.own), s.advertise()) }

const (
	resolveAgain = 5 * time.Minute  // while the name resolves
	resolveRetry = 10 * time.Second // while it does not
)

// follow keeps the advertised address at what name resolves to, until ctx is
// done. changed is called after each change; failed for each lookup that fails.
func (s *surroundings) follow(ctx context.Context, name string, changed func(netip.Addr), failed func(error)) {
	for {
		pause := resolveAgain
		addr, err := lookup4(ctx, name)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failed(err)
			pause = resolveRetry
		case addr != s.advertise():
			s.advertised.Store(&addr)
			changed(addr)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// lookup4 returns the first IPv4 address of name.
func lookup4(ctx context.Context, name string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveRetry)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("resolve TURNKEY_PUBLIC_IP=dns:%s: %w", name, err)
	}
	return addrs[0].Unmap(), nil
}
