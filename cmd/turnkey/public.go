package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"turnkey/nattest"
)

const (
	publicAgain = 5 * time.Minute  // while the address is found
	publicRetry = 10 * time.Second // while it is not, at first, and the bound of one lookup
)

// finder finds the address at which the internet reaches this machine.
type finder func(context.Context) (public, error)

// follow keeps the advertised address at what find returns, until ctx is done.
// changed is called after each change; failed for each time that find fails.
func (s *surroundings) follow(ctx context.Context, find finder, changed func(public), failed func(error)) {
	for retry := publicRetry; ; {
		pause := publicAgain
		found, err := find(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failed(err)
			pause, retry = retry, min(2*retry, publicAgain)
		case found != s.public():
			moved := found.addr != s.advertise()
			s.advertised.Store(&found)
			if moved {
				changed(found)
			}
		}
		if err == nil {
			retry = publicRetry
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// finder returns how the address is found while the server runs, nil if what
// is known from the start is all there is.
func (s *server) finder() finder {
	switch p := s.cfg.PublicIP; {
	case p.DNS != "":
		return byName(net.DefaultResolver.LookupNetIP, p.DNS)
	case !p.Addr.IsValid() && s.around.public().hint != "" && len(s.cfg.STUNServers) > 0:
		a := asker{servers: s.cfg.STUNServers, lookup: net.DefaultResolver.LookupNetIP, log: s.log, listen: func() (net.PacketConn, error) {
			return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.around.relay, 0)))
		}}
		return a.find
	}
	return nil
}

func (s *server) moved(p public) {
	s.peers.SetOwn(s.around.ownAddrs())
	s.stun.publish(s.around.alternates())
	s.log.Info("public address found, relays are advertised at it", "address", p.addr, "from", p.from)
	if !isPublic(p.addr) {
		s.warnOfPrivate(p)
	}
	select {
	case s.retest <- struct{}{}:
	default: // one is coming already
	}
}

// warnOfPrivate tells that relays are advertised where the internet has no way to.
func (s *server) warnOfPrivate(p public) {
	s.log.Warn("relays are advertised at an address that is not public: clients outside this network cannot use them; set TURNKEY_PUBLIC_IP or TURNKEY_STUN_SERVERS",
		"address", p.addr, "from", p.from)
}

func (s *server) unfound(err error) {
	s.log.Warn("public address not found, trying again", "error", err, "advertised", s.around.advertise())
}

// lookup is net.Resolver.LookupNetIP.
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// first returns the first IPv4 address of host.
func (l lookup) first(ctx context.Context, host string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, publicRetry)
	defer cancel()
	addrs, err := l(ctx, "ip4", host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("no address")
	}
	if err != nil {
		return netip.Addr{}, err
	}
	return addrs[0].Unmap(), nil
}

// byName finds the address by a name of this machine.
func byName(l lookup, name string) finder {
	return func(ctx context.Context) (public, error) {
		addr, err := l.first(ctx, name)
		if err != nil {
			return public{}, fmt.Errorf("resolve TURNKEY_PUBLIC_IP=dns:%s: %w", name, err)
		}
		return public{addr: addr, from: "name " + name + " in TURNKEY_PUBLIC_IP"}, nil
	}
}

// asker finds the address by asking STUN servers of others.
type asker struct {
	servers []string // host:port
	lookup  lookup
	listen  func() (net.PacketConn, error) // a socket for the questions, as a relay's
	log     *slog.Logger
}

// find asks every server. The first answer with a public address counts; one
// that differs from it is warned of.
func (a asker) find(ctx context.Context) (public, error) {
	var found public
	var failures []error
	for _, server := range a.servers {
		addr, err := a.ask(ctx, server)
		switch {
		case err != nil:
			failures = append(failures, err)
		case !found.addr.IsValid():
			found = public{addr: addr, from: "asked " + server}
		case found.addr != addr:
			a.log.Warn("two of TURNKEY_STUN_SERVERS see different public addresses, the first counts: set TURNKEY_PUBLIC_IP",
				"address", found.addr, "from", found.from, "other", addr, "server", server)
		}
	}
	if !found.addr.IsValid() {
		return public{}, fmt.Errorf("ask TURNKEY_STUN_SERVERS: %w", errors.Join(failures...))
	}
	for _, err := range failures {
		a.log.Debug("one of TURNKEY_STUN_SERVERS did not help", "error", err)
	}
	return found, nil
}

// ask asks one server.
func (a asker) ask(ctx context.Context, server string) (netip.Addr, error) {
	host, service, err := net.SplitHostPort(server)
	if err != nil {
		return netip.Addr{}, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return netip.Addr{}, err
	}
	addr, err := a.lookup.first(ctx, host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("resolve %s: %w", host, err)
	}
	conn, err := a.listen()
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	mapped, err := nattest.Reflexive(ctx, conn, netip.AddrPortFrom(addr, uint16(port)))
	if err == nil && !isPublic(mapped.Addr()) {
		err = fmt.Errorf("%s sees %s, which is not public", server, mapped.Addr())
	}
	return mapped.Addr(), err
}
