package signal

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// subprotocol is what a client may name in the upgrade; it must if it sends
// its token as a subprotocol.
const subprotocol = "turnkey.v1"

// accept upgrades the request. Its origin is judged later, where a page can
// read the answer.
func (c *conn) accept(w http.ResponseWriter) error {
	up := ws.HTTPUpgrader{Timeout: writeTimeout, Protocol: func(p string) bool { return p == subprotocol }}
	nc, rw, _, err := up.Upgrade(c.req, w)
	if err != nil {
		if nc != nil {
			_ = nc.Close()
		}
		return err
	}
	c.nc = nc
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // all that is buffered
	c.in = wire{nc: nc, buf: make([]byte, max(readBuffer, len(early)))}
	c.in.end = copy(c.in.buf, early)
	c.writer.Add(1)
	c.out.start = func() { go c.write() }
	c.timer = time.AfterFunc(time.Hour, c.alarm)
	c.timer.Reset(joinTimeout)
	c.pulse = time.AfterFunc(time.Hour, c.beat)
	c.pulse.Reset(pingEvery)
	return nil
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
