package turnsrv

import (
	"errors"
	"net"
	"net/netip"
)

// generator hands relay sockets to pion, for the request in hand.
type generator struct{ gate *gate }

func (generator) Validate() error { return nil }

// AllocateConn would be for TCP relays (RFC 6062), which are not offered.
func (generator) AllocateConn(string, int) (net.Conn, net.Addr, error) {
	return nil, nil, errors.New("TCP relays are not supported")
}

// AllocatePacketConn opens a relay socket of the address family and on the port
// that the request in hand asks for. An error becomes 508.
func (a generator) AllocatePacketConn(_ string, port int) (net.PacketConn, net.Addr, error) {
	conn, addr, err := a.gate.allocate(port)
	if errors.Is(err, errNoPort) {
		r := &a.gate.request
		a.gate.server.refuse(r, a.gate.transport, r.username, refusal{code: codeCapacity, why: "no relay port is free; widen TURNKEY_RELAY_PORTS"})
	}
	return conn, addr, err
}

// allocate is [generator.AllocatePacketConn]. For EVEN-PORT pion calls it twice:
// for any port, which it closes again when it has seen that it is even, and then
// for that port.
func (g *gate) allocate(port int) (net.PacketConn, net.Addr, error) {
	s, r := g.server, &g.request
	relays := s.relays(r.family)
	switch {
	case s.draining.Load():
		return nil, nil, errors.New("the server is shutting down")
	case relays == nil:
		return nil, nil, errors.New("no relays of that address family")
	case r.token != [8]byte{}:
		reserved := s.reservations.claim(r.token)
		if reserved == nil {
			return nil, nil, errors.New("the reservation has expired")
		}
		return g.open(relays, reserved.port)
	case port != 0:
		if err := relays.ports.takeThis(uint16(port)); err != nil {
			return nil, nil, err
		}
		if r.reserve {
			g.setAside(relays, uint16(port)+1)
		}
		return g.open(relays, uint16(port))
	}
	// Ports that another program holds are passed over.
	for range relays.ports.count() {
		take := relays.ports.take
		if r.even {
			take = func() (uint16, error) { return relays.ports.takeEven(r.reserve) }
		}
		port, err := take()
		if err != nil {
			return nil, nil, err
		}
		conn, addr, err := g.open(relays, port)
		if err == nil {
			return conn, addr, nil
		}
		s.log.Debug("relay port not available", "port", port, "error", err)
	}
	return nil, nil, errNoPort
}

// open opens a relay socket on a port that was taken; if it fails, the port is
// released.
func (g *gate) open(relays *relays, port uint16) (net.PacketConn, net.Addr, error) {
	conn, err := relays.Listen(port)
	if err != nil {
		relays.ports.release(port)
		return nil, nil, err
	}
	g.opened = &relay{socket: relaySocket(conn), peers: g.server.peers}
	g.opened.whenEnded(func() { relays.ports.release(port) })
	return g.opened, net.UDPAddrFromAddrPort(netip.AddrPortFrom(relays.Advertise(), port)), nil
}

// setAside reserves a port for a second allocation, RFC 8656 section 7.2. It
// counts as one already. If the port is gone, or the user has as many as it may,
// the client gets no token.
func (g *gate) setAside(relays *relays, port uint16) {
	r := &g.request
	taker := r.taker()
	if g.server.quotas.claim(taker).code != 0 {
		return
	}
	uncount := func() { g.server.quotas.free(taker) }
	if relays.ports.takeThis(port) != nil {
		uncount()
		return
	}
	r.reservation = g.server.reservations.add(r.family, port, uncount, func() { relays.ports.release(port) })
}
