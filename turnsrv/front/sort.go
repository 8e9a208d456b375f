package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/pires/go-proxyproto"
)

// tlsHandshake is the first byte of a TLS connection (RFC 8446, section 5.1).
// No TURN message and no HTTP request begins with it.
const tlsHandshake = 22

// sort finds out what raw is: by its first byte; in TLS by the protocol that was
// agreed on (ALPN) if that is STUN's, or else by the first byte in it.
func (s *Splitter) sort(raw net.Conn) (Kind, *conn, error) {
	c := &conn{Conn: raw, early: bufio.NewReaderSize(raw, proxyHeader), remote: raw.RemoteAddr()}
	if err := s.proxied(c); err != nil {
		return 0, nil, err
	}
	first, err := c.early.Peek(1)
	if err != nil {
		return 0, nil, fmt.Errorf("wait for its first byte: %w", err)
	}
	if first[0] != tlsHandshake || s.TLS == nil {
		return Plain, c, nil
	}
	t := tls.Server(c, s.TLS)
	if err := t.Handshake(); err != nil {
		return 0, nil, fmt.Errorf("TLS handshake: %w", err)
	}
	state := t.ConnectionState()
	inner := &conn{Conn: t, early: bufio.NewReaderSize(t, 16), remote: c.remote, tls: &state}
	if s.queues[HTTP] == nil || strings.HasPrefix(state.NegotiatedProtocol, "stun.") {
		return TURN, inner, nil
	}
	if first, err = inner.early.Peek(1); err != nil {
		return 0, nil, fmt.Errorf("wait for its first byte in TLS: %w", err)
	}
	switch b := first[0]; {
	case b <= 3: // STUN (RFC 7983); ChannelData cannot come first
		return TURN, inner, nil
	case 'A' <= b && b <= 'Z': // the method of a request
		return HTTP, inner, nil
	}
	return 0, nil, fmt.Errorf("neither TURN nor HTTP begins with byte %#x", first[0])
}

// proxyHeader is more than a PROXY header of version 1 may have (107 bytes),
// and one of version 2 has with the usual extensions.
const proxyHeader = 256

// proxied reads a PROXY header, if there is one, and takes the client from it.
func (s *Splitter) proxied(c *conn) error {
	found, err := hasProxyHeader(c.early)
	if err != nil || !found {
		return err
	}
	proxy := addrOf(c.remote).Addr()
	if !s.trusts(proxy) {
		return errors.New("a PROXY header came from an address that is not in TURNKEY_TRUSTED_PROXIES")
	}
	h, err := proxyproto.Read(c.early)
	if err != nil {
		return fmt.Errorf("read PROXY header: %w", err)
	}
	if h.Command.IsLocal() { // a question of the proxy itself, e.g. whether we are alive
		return nil
	}
	client := addrOf(h.SourceAddr)
	if !believable(client, proxy) {
		return fmt.Errorf("PROXY header names %v, which cannot be a client", h.SourceAddr)
	}
	c.remote = net.TCPAddrFromAddrPort(client)
	return nil
}

// hasProxyHeader reads no further than it takes to tell, which is no further
// than any request or message goes.
func hasProxyHeader(r *bufio.Reader) (bool, error) {
	for _, signature := range [][]byte{proxyproto.SIGV1, proxyproto.SIGV2} {
		for n := 1; ; n++ {
			b, err := r.Peek(n)
			if err != nil {
				return false, fmt.Errorf("wait for its first bytes: %w", err)
			}
			if !bytes.HasPrefix(signature, b) {
				break
			}
			if n == len(signature) {
				return true, nil
			}
		}
	}
	return false, nil
}

// believable tells whether proxy can have a client of that address. A client on
// loopback is on the proxy's own machine, which is another than this one.
func believable(client netip.AddrPort, proxy netip.Addr) bool {
	a := client.Addr()
	return a.IsValid() && client.Port() != 0 && !a.IsUnspecified() && !a.IsMulticast() && (!a.IsLoopback() || proxy.IsLoopback())
}

// conn is a connection of which something was read too early.
type conn struct {
	net.Conn
	early  *bufio.Reader // nil once it is empty
	remote net.Addr
	tls    *tls.ConnectionState // nil if it is Plain
	leave  func()               // nil if it is not counted
}

// uncount takes it out of its client's connections.
func (c *conn) uncount() {
	if c.leave != nil {
		c.leave()
	}
}

func (c *conn) Close() error {
	c.uncount()
	return c.Conn.Close()
}

func (c *conn) Read(p []byte) (int, error) {
	if c.early != nil {
		if c.early.Buffered() > 0 {
			return c.early.Read(p)
		}
		c.early = nil
	}
	return c.Conn.Read(p)
}

func (c *conn) RemoteAddr() net.Addr { return c.remote }

// CloseWrite tells the client that nothing more will come, as net/http does
// where a request was not read to its end.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

type tlsKey struct{}

// ConnContext is for http.Server.ConnContext, Handler around its handler: with
// both, Request.TLS is set, as it is where net/http ends TLS itself.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok && c.tls != nil {
		return context.WithValue(ctx, tlsKey{}, c.tls)
	}
	return ctx
}

// Handler returns h for connections of the kind HTTP; see [ConnContext].
func Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if state, ok := r.Context().Value(tlsKey{}).(*tls.ConnectionState); ok {
			r.TLS = state
		}
		h.ServeHTTP(w, r)
	})
}
