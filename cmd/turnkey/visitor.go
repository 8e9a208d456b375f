package main

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"turnkey/nattest/visitor"
	"turnkey/turnsrv"
	"turnkey/web"
)

// newVisitor makes the server's half of the NAT test in a page: who may have
// credentials may begin one.
func (s *server) newVisitor() *visitor.Server {
	return visitor.New(visitor.Config{
		Admit: func(r *http.Request) (visitor.Guest, http.Handler) {
			grant, err := s.access.Check(r)
			if err == nil { // it gives TURN credentials
				err = grant.May(web.RightRelay, "")
			}
			if err != nil {
				return visitor.Guest{}, err
			}
			return s.guest(grant), nil
		},
		Refuse: func(w http.ResponseWriter, r *http.Request, e visitor.Error) {
			(&web.Error{Status: e.Status, Code: e.Code, Message: e.Message, Hint: e.Hint, RetryAfter: e.RetryAfter}).ServeHTTP(w, r)
		},
		Revoke:    func(label string) { s.turn.EndUser(label) },
		Endpoints: s.visitorEndpoints,
		Listen:    s.listenForVisitor,
		Log:       s.log,
	})
}

// guest is whom a test is for, with credentials within what was granted.
func (s *server) guest(grant web.Grant) visitor.Guest {
	return visitor.Guest{Client: grant.Client, Issue: func(label string, ttl time.Duration) ([]visitor.ICEServer, error) {
		session, err := s.ice(label, ttl, grant.Quota)
		list := make([]visitor.ICEServer, len(session.ICEServers))
		for i, v := range session.ICEServers {
			list[i] = visitor.ICEServer(v)
		}
		return list, err
	}}
}

// heard tells the visitor's tests what comes to a socket.
func (s *server) heard(conn net.PacketConn) func([]byte, netip.AddrPort) {
	at := localAddr(conn)
	return func(datagram []byte, from netip.AddrPort) { s.visitor.Heard(at, datagram, from) }
}

// watch tells the visitor's tests and the call doctor what becomes of requests.
func (s *server) watch() turnsrv.Watch {
	return turnsrv.Watch{
		Allocated: func(v turnsrv.Session) {
			s.visitor.Allocated(visitor.Allocation{Label: v.Label, Client: v.Client, Server: v.Server, Transport: v.Transport})
			s.doctor.allocated(v)
		},
		Refused: func(v turnsrv.Refused) {
			s.visitor.Refused(visitor.Refusal{Label: v.Label, Transport: v.Transport, Method: v.Method, Code: v.Code, Reason: v.Reason})
			s.doctor.refused(v)
		},
	}
}

// visitorEndpoints are the STUN endpoints that a page is told of: those of the
// advertised address and of its alternates, and the same of an IPv6 address.
func (s *server) visitorEndpoints() (list []visitor.Endpoint) {
	for _, first := range []netip.Addr{s.around.relay, s.around.relay6} {
		at := s.stun.seenAt(first)
		hosts := s.stun.hosts(at)
		if len(hosts) == 0 {
			hosts = []netip.Addr{at}
		}
		for _, host := range hosts[:min(len(hosts), 2)] {
			list = append(list, s.stun.endpoints(host)...)
		}
	}
	return list
}

// seenAt is the address at which clients reach the one that is bound, invalid
// if there is none.
func (p *stunPlaces) seenAt(bound netip.Addr) netip.Addr { return (*p.seen.Load())[bound].addr }

// endpoints are the sockets that clients reach at host, TURN's first.
func (p *stunPlaces) endpoints(host netip.Addr) (list []visitor.Endpoint) {
	for at, sender := range p.senders {
		if own := p.seenAt(at.Addr()); own.IsValid() && own == host {
			list = append(list, visitor.Endpoint{At: netip.AddrPortFrom(own, at.Port()), Bound: at, Send: sender.WriteToUDPAddrPort})
		}
	}
	slices.SortFunc(list, func(a, b visitor.Endpoint) int {
		return cmp.Compare(slices.Index(p.ports[:], a.At.Port()), slices.Index(p.ports[:], b.At.Port()))
	})
	return list
}

// listenForVisitor opens a socket on a port of the relay range, which firewalls
// let in. The relays pass over a port that is taken.
func (s *server) listenForVisitor(addr netip.Addr) (conn net.PacketConn, err error) {
	r := s.cfg.RelayPorts
	err = errors.New("no relay ports")
	for range 8 {
		port := r.Min + uint16(rand.IntN(int(r.Max-r.Min)+1))
		if conn, err = s.listenRelay(addr)(port); err == nil {
			return conn, nil
		}
	}
	return nil, err
}
