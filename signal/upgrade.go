package signal

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// subprotocol is what a client may name in the upgrade; it must if it sends
// its token as a subprotocol.
const subprotocol = "turnkey.v1"

// accept upgrades the request. Its origin is judged later, where a page can
// read the answer.
func (c *conn) accept(w http.ResponseWriter) (err error) {
	keeper := &connKeeper{ResponseWriter: w}
	c.ws, err = websocket.Accept(keeper, c.req, &websocket.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true,
		OnPingReceived:     func(context.Context, []byte) bool { return c.control() },
		OnPongReceived:     func(context.Context, []byte) { c.control() },
	})
	if err != nil {
		return err
	}
	c.ws.SetReadLimit(-1) // next has its own, which lets the client be told
	c.nc = keeper.conn
	c.timer = time.NewTimer(joinTimeout)
	return nil
}

// connKeeper keeps the connection that a WebSocket takes over.
type connKeeper struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack is [http.Hijacker].
func (k *connKeeper) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(k.ResponseWriter).Hijack()
	k.conn = conn
	return conn, rw, err
}

func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoMajor == 1 &&
		hasToken(r.Header.Values("Connection"), "upgrade") && hasToken(r.Header.Values("Upgrade"), "websocket")
}

func hasToken(headers []string, want string) bool {
	return slices.ContainsFunc(headers, func(h string) bool {
		return slices.ContainsFunc(strings.Split(h, ","), func(t string) bool {
			return strings.EqualFold(strings.TrimSpace(t), want)
		})
	})
}

// bucket is what sockets are counted by: an IPv4 address or an IPv6 /64.
func bucket(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // no address (a Unix socket): one bucket for all
	return p
}
