package nattest

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// link carries STUN messages to one server.
type link interface {
	write(raw []byte) error
	read(deadline time.Time) ([]byte, error) // one message; valid until the next
	lossy() bool                             // requests must be repeated
	Close() error
}

// packetLink is STUN over UDP from an unconnected socket. Datagrams from
// elsewhere are dropped.
type packetLink struct {
	net.PacketConn
	server netip.AddrPort
	buf    [2048]byte
}

func (l *packetLink) lossy() bool { return true }

func (l *packetLink) write(raw []byte) error {
	_, err := l.WriteTo(raw, net.UDPAddrFromAddrPort(l.server))
	return err
}

func (l *packetLink) read(deadline time.Time) ([]byte, error) {
	if err := l.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	n, _, err := onlyFrom{l.PacketConn, l.server}.ReadFrom(l.buf[:])
	return l.buf[:max(n, 0)], err
}

// onlyFrom is a socket that hears one address alone.
type onlyFrom struct {
	net.PacketConn
	server netip.AddrPort
}

func (o onlyFrom) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := o.PacketConn.ReadFrom(b)
		if err != nil || addrPort(from) == o.server {
			return n, from, err
		}
	}
}

// streamLink is STUN and ChannelData over TCP or TLS (RFC 8489 section 6.2.2,
// RFC 8656 section 12.5).
type streamLink struct {
	net.Conn
	buf  [4096]byte
	have int
	size int // of the message returned last
}

func (l *streamLink) lossy() bool { return false }

func (l *streamLink) write(raw []byte) error {
	if err := l.SetWriteDeadline(time.Now().Add(turnWait)); err != nil {
		return err
	}
	_, err := l.Write(raw)
	return err
}

// read keeps what it has when the deadline passes in the middle of a message.
func (l *streamLink) read(deadline time.Time) ([]byte, error) {
	l.have = copy(l.buf[:], l.buf[l.size:l.have])
	l.size = 0
	if err := l.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	for {
		size, err := frame(l.buf[:l.have])
		if err != nil {
			return nil, err
		}
		if size > 0 {
			l.size = size
			return l.buf[:size], nil
		}
		n, err := l.Conn.Read(l.buf[l.have:])
		if l.have += n; err != nil && n == 0 {
			return nil, err
		}
	}
}

var errNotSTUN = errors.New("what answers does not speak STUN")

// frame returns the size of the first message in b with its padding, 0 when b
// has only a part.
func frame(b []byte) (int, error) {
	if len(b) < 4 {
		return 0, nil
	}
	size := int(binary.BigEndian.Uint16(b[2:4]))
	if b[0]>>6 == 1 { // ChannelData
		size = (4 + size + 3) &^ 3
	} else {
		if size += 20; size%4 != 0 || len(b) >= 20 && !stun.IsMessage(b) {
			return 0, errNotSTUN
		}
	}
	if size > 4096 {
		return 0, errNotSTUN
	}
	if len(b) < size {
		return 0, nil
	}
	return size, nil
}

// open connects to a TURN URL at one of its host's addresses. The stage says
// how far it came.
func (c *Config) open(ctx context.Context, u turnURL, at netip.AddrPort) (l link, stage string, err error) {
	ctx, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	if u.Proto == stun.ProtoTypeUDP {
		pc, err := c.socketTo(ctx, at)
		if err != nil {
			return nil, "connect", err
		}
		if u.IsSecure() {
			return c.openDTLS(ctx, pc, u.Host, at)
		}
		return &packetLink{PacketConn: pc, server: at}, "connect", nil
	}
	conn, err := c.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return nil, "connect", err
	}
	if !u.IsSecure() {
		return &streamLink{Conn: conn}, "connect", nil
	}
	cfg := &tls.Config{}
	if c.TLS != nil {
		cfg = c.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = u.Host
	}
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, "tls", err
	}
	return &streamLink{Conn: tc}, "tls", nil
}

// socketTo opens a UDP socket on the address from which this machine reaches
// to.
func (c *Config) socketTo(ctx context.Context, to netip.AddrPort) (net.PacketConn, error) {
	network := "udp4"
	if to.Addr().Is6() {
		network = "udp6"
	}
	local, _, why := c.egress(ctx, network, []netip.AddrPort{to})
	if why != "" {
		return nil, errNoWay{why}
	}
	return c.ListenPacket(ctx, network, net.JoinHostPort(local.String(), "0"))
}

// errNoWay says that this machine cannot send there at all, which says nothing
// about the server.
type errNoWay struct{ why string }

func (e errNoWay) Error() string { return e.why }
