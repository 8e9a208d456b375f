package main

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"turnkey/stunsrv"
)

// tokenLife is how long a token of /nattest.json is good: longer than any probe
// takes, shorter than it would take to pass it around.
const tokenLife = 2 * time.Minute

// seen is how clients see one of the addresses that are bound.
type seen struct {
	addr    netip.Addr // at which they reach it
	partner netip.Addr // the bound address that is its alternate (RFC 5780); invalid = none
}

// alternates pairs the addresses that are bound, each with the next of its kind,
// the last one with the first. outside says at which address clients reach one,
// where that is another; lonely, which ones have no alternate.
func alternates(bound []netip.Addr, outside map[netip.Addr]netip.Addr, lonely func(bound, seen netip.Addr) bool) map[netip.Addr]seen {
	all := make(map[netip.Addr]seen, len(bound))
	kinds := map[kind][]netip.Addr{}
	for _, a := range bound {
		s := seen{addr: a}
		if o, known := outside[a]; known {
			s.addr = o
		}
		all[a] = s
		if k := kindOf(s.addr); !lonely(a, s.addr) {
			kinds[k] = append(kinds[k], a)
		}
	}
	for _, list := range kinds {
		for i, a := range list {
			if partner := list[(i+1)%len(list)]; all[partner].addr != all[a].addr {
				all[a] = seen{all[a].addr, partner}
			}
		}
	}
	return all
}

// kind is what two addresses have in common of which clients that reach one can
// be expected to reach the other.
type kind struct{ ipv4, public, loopback bool }

func kindOf(a netip.Addr) kind { return kind{a.Is4(), isPublic(a), a.IsLoopback()} }

// stunPlaces knows, for every socket that answers Binding, where it is.
type stunPlaces struct {
	ports   [2]uint16 // TURNKEY_PORT, TURNKEY_ALT_PORT
	senders map[netip.AddrPort]stunsrv.Sender
	udp     map[netip.AddrPort]*atomic.Pointer[stunsrv.Place] // by bound address
	seen    atomic.Pointer[map[netip.Addr]seen]               // by bound address
}

// newSTUNPlaces gathers the sockets on both ports. Where several share an
// address, the first one sends for the others' alternates.
func newSTUNPlaces(conns []net.PacketConn, ports [2]uint16) *stunPlaces {
	p := &stunPlaces{ports: ports, senders: map[netip.AddrPort]stunsrv.Sender{}, udp: map[netip.AddrPort]*atomic.Pointer[stunsrv.Place]{}}
	for _, conn := range conns {
		at := localAddr(conn)
		if sender, can := conn.(stunsrv.Sender); can && p.senders[at] == nil {
			p.senders[at], p.udp[at] = sender, new(atomic.Pointer[stunsrv.Place])
		}
	}
	return p
}

// publish tells every socket where it is.
func (p *stunPlaces) publish(all map[netip.Addr]seen) {
	p.seen.Store(&all)
	for at, place := range p.udp {
		place.Store(p.place(at, all))
	}
}

// place is that of the socket bound to at. An alternate without a socket, which
// could not be bound, is left out.
func (p *stunPlaces) place(at netip.AddrPort, all map[netip.Addr]seen) *stunsrv.Place {
	own := all[at.Addr()]
	other := p.ports[0]
	if at.Port() == other {
		other = p.ports[1]
	}
	place := &stunsrv.Place{}
	place.Site[0] = netip.AddrPortFrom(own.addr, at.Port())
	for change, alternate := range map[stunsrv.Change]netip.AddrPort{
		stunsrv.ChangePort:                    netip.AddrPortFrom(at.Addr(), other),
		stunsrv.ChangeIP:                      netip.AddrPortFrom(own.partner, at.Port()),
		stunsrv.ChangePort | stunsrv.ChangeIP: netip.AddrPortFrom(own.partner, other),
	} {
		if sender := p.senders[alternate]; sender != nil {
			place.Site[change] = netip.AddrPortFrom(all[alternate.Addr()].addr, alternate.Port())
			place.Via[change] = sender
		}
	}
	return place
}

// of returns where the UDP socket conn is.
func (p *stunPlaces) of(conn net.PacketConn) func(netip.AddrPort) *stunsrv.Place {
	place := p.udp[localAddr(conn)]
	if place == nil {
		return nil
	}
	return func(netip.AddrPort) *stunsrv.Place { return place.Load() }
}

// ofStreams returns where the connections of a listener are, of which there is
// no alternate: nothing listens for connections on TURNKEY_ALT_PORT.
func (p *stunPlaces) ofStreams(conn net.PacketConn) func(netip.AddrPort) *stunsrv.Place {
	streams, ok := conn.(interface {
		Local(client netip.AddrPort) netip.AddrPort
	})
	if !ok {
		return nil
	}
	return func(client netip.AddrPort) *stunsrv.Place {
		at := streams.Local(client)
		own, known := (*p.seen.Load())[at.Addr()]
		if !known {
			return nil
		}
		return &stunsrv.Place{Site: stunsrv.Site{netip.AddrPortFrom(own.addr, at.Port())}}
	}
}

// hosts are the addresses at which clients find the same server as at addr: that
// one, and its alternates.
func (p *stunPlaces) hosts(addr netip.Addr) []netip.Addr {
	all := *p.seen.Load()
	for _, s := range all {
		if s.addr != addr || !s.partner.IsValid() {
			continue
		}
		list := []netip.Addr{addr}
		for next := all[s.partner]; !slices.Contains(list, next.addr) && len(list) < maxProbed; next = all[next.partner] {
			list = append(list, next.addr)
		}
		return list
	}
	return nil
}

func localAddr(conn net.PacketConn) netip.AddrPort {
	at, _ := conn.LocalAddr().(interface{ AddrPort() netip.AddrPort })
	if at == nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(at.AddrPort().Addr().Unmap().WithZone(""), at.AddrPort().Port())
}
