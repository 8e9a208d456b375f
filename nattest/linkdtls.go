package nattest

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/stun/v3"
)

// datagramLink is STUN over DTLS (RFC 7350): one message a record.
type datagramLink struct {
	*dtls.Conn
	buf [2048]byte
}

func (l *datagramLink) lossy() bool { return true }

func (l *datagramLink) write(raw []byte) error {
	_, err := l.Write(raw)
	return err
}

func (l *datagramLink) read(deadline time.Time) ([]byte, error) {
	if err := l.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	n, err := l.Conn.Read(l.buf[:])
	return l.buf[:max(n, 0)], err
}

// openDTLS shakes hands over pc, which it closes when it fails.
func (c *Config) openDTLS(ctx context.Context, pc net.PacketConn, host string, at netip.AddrPort) (link, string, error) {
	options := []dtls.ClientOption{
		dtls.WithServerName(host), dtls.WithFlightInterval(200 * time.Millisecond), dtls.WithMTU(1200),
	}
	if c.TLS != nil {
		options = append(options, dtls.WithRootCAs(c.TLS.RootCAs), dtls.WithInsecureSkipVerify(c.TLS.InsecureSkipVerify))
		if c.TLS.ServerName != "" {
			options = append(options, dtls.WithServerName(c.TLS.ServerName))
		}
	}
	conn, err := dtls.ClientWithOptions(onlyFrom{pc, at}, net.UDPAddrFromAddrPort(at), options...)
	if err == nil {
		if err = conn.HandshakeContext(ctx); err == nil {
			return &datagramLink{Conn: conn}, "tls", nil
		}
		conn.Close()
	}
	pc.Close()
	if timedOut(err) { // nothing there answers, TLS or not
		return nil, "connect", err
	}
	return nil, "tls", err
}

// datagrams says whether packets may get lost on the way to a URL's server.
func (u turnURL) datagrams() bool { return u.Proto == stun.ProtoTypeUDP }
