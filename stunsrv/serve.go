package stunsrv

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// maxRead is more than any Binding request takes; longer datagrams are cut and
// then fail to parse.
const maxRead = 1500

// maxFailures in a row end Serve. One failed read is no reason to stop: some
// systems report the ICMP errors that earlier responses caused.
const maxFailures = 64

// Serve answers Binding requests on conn, as often as limit allows, until conn
// is closed, which is when it returns nil. It returns an error only if reading
// keeps failing.
func Serve(conn net.PacketConn, limit *Limiter) error {
	request, response := make([]byte, maxRead), make([]byte, 0, MaxResponse)
	socket := asAddrPortConn(conn)
	for failures := 0; ; {
		n, from, err := socket.ReadFromUDPAddrPort(request)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			if failures++; failures == maxFailures {
				return fmt.Errorf("read STUN requests on %s: %w", conn.LocalAddr(), err)
			}
			continue
		}
		failures = 0
		if out := Respond(response[:0], request[:n], from); len(out) > 0 && limit.Allow(from.Addr()) {
			_, _ = socket.WriteToUDPAddrPort(out, from) // a lost response is the client's to retransmit
		}
	}
}

// Wrap returns a view of conn that answers Binding requests itself, as often as
// limit allows, and returns only datagrams that are no Binding messages at all,
// by ReadFrom and by ReadFromUDPAddrPort. One goroutine at a time may read.
func Wrap(conn net.PacketConn, limit *Limiter) *Wrapped {
	return &Wrapped{PacketConn: conn, socket: asAddrPortConn(conn), limit: limit, response: make([]byte, 0, MaxResponse)}
}

// Wrapped is what Wrap returns.
type Wrapped struct {
	net.PacketConn
	socket   addrPortConn
	limit    *Limiter
	response []byte
}

// ReadFrom is that of net.PacketConn, without the Binding messages.
func (w *Wrapped) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := w.PacketConn.ReadFrom(p)
		if err != nil || !IsBinding(p[:n]) {
			return n, from, err
		}
		w.respond(p[:n], addrPort(from))
	}
}

// ReadFromUDPAddrPort is that of *net.UDPConn, without the Binding messages. It
// does not allocate if the socket's does not.
func (w *Wrapped) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := w.socket.ReadFromUDPAddrPort(p)
		if err != nil || !IsBinding(p[:n]) {
			return n, from, err
		}
		w.respond(p[:n], from)
	}
}

// WriteToUDPAddrPort is that of *net.UDPConn.
func (w *Wrapped) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	return w.socket.WriteToUDPAddrPort(p, to)
}

func (w *Wrapped) respond(request []byte, from netip.AddrPort) {
	if out := Respond(w.response[:0], request, from); len(out) > 0 && w.limit.Allow(from.Addr()) {
		_, _ = w.socket.WriteToUDPAddrPort(out, from)
	}
}

// addrPortConn is the part of *net.UDPConn that works without allocating.
type addrPortConn interface {
	ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error)
}

func asAddrPortConn(conn net.PacketConn) addrPortConn {
	if c, ok := conn.(addrPortConn); ok {
		return c
	}
	return slowConn{conn}
}

// slowConn makes an addrPortConn of any PacketConn.
type slowConn struct{ net.PacketConn }

func (c slowConn) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	n, from, err := c.ReadFrom(p)
	return n, addrPort(from), err
}

func (c slowConn) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	return c.WriteTo(p, net.UDPAddrFromAddrPort(to))
}

// addrPort returns the zero AddrPort, to which nothing is answered, for
// anything but an IP address with a port.
func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}
