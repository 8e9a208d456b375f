package stunsrv

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// maxRead is more than any Binding request takes; longer datagrams are cut and
// then fail to parse.
const maxRead = 2048

// maxFailures in a row end Serve. One failed read is no reason to stop: some
// systems report the ICMP errors that earlier responses caused.
const maxFailures = 64

// Config says how the requests to one socket are answered. With the zero value
// everybody is, as often as they ask, and without a word on where the server is.
type Config struct {
	// Place returns where the socket is for a client, nil if that is not known.
	// It is asked for every request; what it returns must not change afterwards.
	Place func(client netip.AddrPort) *Place
	// Connected says that clients come over TCP, TLS or DTLS, where there are none
	// of RFC 3489 (RFC 8489 section 11).
	Connected bool
	// Limit bounds the responses to one source.
	Limit *Limiter
	// Tokens are what a probe may show, which has a budget of its own then; nil:
	// there are none.
	Tokens *Tokens
	// Heard, if not nil, gets every Binding message, of whatever class, before it
	// is answered, if it is: answers to what others send from this socket are
	// among them. It must return at once, and not keep the datagram.
	Heard func(datagram []byte, from netip.AddrPort)
}

// Place is the site of a socket, and the sockets that send from its alternates.
type Place struct {
	Site Site
	Via  [4]Sender // Via[0] is not looked at; an alternate of the site without a Sender is mute
}

// Sender is the part of *net.UDPConn that sends.
type Sender interface {
	WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error)
}

// responder answers the requests to one socket, for one goroutine.
type responder struct {
	Config
	own    Sender
	valid  func(token []byte) bool
	buffer []byte
}

func newResponder(c Config, own Sender) *responder {
	r := &responder{Config: c, own: own, buffer: make([]byte, 0, MaxResponse)}
	if c.Tokens != nil {
		r.valid = c.Tokens.checker().valid
	}
	return r
}

// nowhere is the place of a socket of which nothing is known.
var nowhere Place

// respond answers a datagram, if it is to be answered.
func (r *responder) respond(datagram []byte, from netip.AddrPort) {
	if r.Heard != nil {
		r.Heard(datagram, from)
	}
	place := &nowhere
	if r.Place != nil {
		place = cmp.Or(r.Place(from), place)
	}
	a := Respond(r.buffer[:0], datagram, from, &place.Site, r.valid)
	if r.Connected && len(a.Message) > 0 && isClassic(datagram) {
		a = Response{Message: appendError(r.buffer[:0], datagram, codeServerError), To: from}
		setLength(a.Message, 0)
	}
	via := r.own
	if a.Via != 0 {
		via = place.Via[a.Via]
	}
	if len(a.Message) == 0 || via == nil || !r.allow(&a, from.Addr()) {
		return
	}
	_, _ = via.WriteToUDPAddrPort(a.Message, a.To) // a lost response is the client's to retransmit
}

// costSize is how many bytes of a response are one event for the limits: none
// without PADDING has as many.
const costSize = 192

// allow reports whether a response may be sent now. Who has used up the budget
// of its token may still have what everybody has.
func (r *responder) allow(a *Response, from netip.Addr) bool {
	cost := 1 + len(a.Message)/costSize
	return a.Token != nil && r.Tokens.spend(a.Token, from, cost) || r.Limit.allow(from, cost)
}

// Serve answers Binding requests on conn until it is closed, which is when it
// returns nil. It returns an error only if reading keeps failing.
func Serve(conn net.PacketConn, c Config) error {
	request, socket := make([]byte, maxRead), asAddrPortConn(conn)
	r := newResponder(c, socket)
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
		r.respond(request[:n], from)
	}
}

// Wrap returns a view of conn that answers Binding requests itself and returns
// only datagrams that are no Binding messages at all, by ReadFrom and by
// ReadFromUDPAddrPort. One goroutine at a time may read.
func Wrap(conn net.PacketConn, c Config) *Wrapped {
	socket := asAddrPortConn(conn)
	return &Wrapped{PacketConn: conn, socket: socket, responder: newResponder(c, socket)}
}

// Wrapped is what Wrap returns.
type Wrapped struct {
	net.PacketConn
	socket    addrPortConn
	responder *responder
}

// ReadFrom is that of net.PacketConn, without the Binding messages.
func (w *Wrapped) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := w.PacketConn.ReadFrom(p)
		if err != nil || !IsBinding(p[:n]) {
			return n, from, err
		}
		w.responder.respond(p[:n], addrPort(from))
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
		w.responder.respond(p[:n], from)
	}
}

// WriteToUDPAddrPort is that of *net.UDPConn.
func (w *Wrapped) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	return w.socket.WriteToUDPAddrPort(p, to)
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
