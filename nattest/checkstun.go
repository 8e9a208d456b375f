package nattest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v3"
)

// checkSTUN asks every STUN endpoint, each from a socket of its own. heard are
// those that answered, seen the addresses that they saw.
func (c *Config) checkSTUN(ctx context.Context, eps []netip.AddrPort) (out []Item, heard []netip.AddrPort, seen []netip.Addr) {
	out = make([]Item, len(eps))
	mapped := make([]netip.Addr, len(eps))
	var wg sync.WaitGroup
	for i, ep := range eps {
		wg.Go(func() { out[i], mapped[i] = c.askSTUN(ctx, ep) })
	}
	wg.Wait()
	for i, it := range out {
		if it.State == "ok" {
			heard, seen = append(heard, eps[i]), append(seen, mapped[i])
		}
	}
	return out, heard, seen
}

func (c *Config) askSTUN(ctx context.Context, ep netip.AddrPort) (Item, netip.Addr) {
	it := Item{Name: "stun", Target: ep.String(), State: "not_tested"}
	s, err := c.socketTo(ctx, ep)
	if err != nil {
		it.Reason = plain(err)
		return it, netip.Addr{}
	}
	defer s.Close()
	b, err := askBinding(ctx, s, ep)
	if err != nil {
		it.State, it.Reason = "failed", fmt.Sprintf("no answer to %d requests over UDP", b.sends)
		it.Hint = fmt.Sprintf("open UDP port %d in the server's firewall and its cloud's; UDP may also be blocked on the way", ep.Port())
		return it, netip.Addr{}
	}
	it.State, it.MS = "ok", ms(b.rtt)
	return it, b.mapped.Addr()
}

// seenAs is the outcome of a Binding transaction (RFC 8489).
type seenAs struct {
	mapped netip.AddrPort
	sends  int
	rtt    time.Duration // since the request that was sent last
}

// askBinding asks a STUN server where it sees conn.
func askBinding(ctx context.Context, conn net.PacketConn, server netip.AddrPort) (b seenAs, err error) {
	var d dialog
	req, err := d.request(stun.MethodBinding)
	if err != nil {
		return b, err
	}
	var last time.Time
	refused := false
	l := &packetLink{PacketConn: conn, server: server}
	err = repeat(ctx, l, l, func(int) ([]byte, error) {
		b.sends, last = b.sends+1, time.Now()
		return req.Raw, nil
	}, func(raw []byte) bool {
		m, r, ok := d.answer(req, raw)
		if ok && r.ok {
			b.mapped, ok = xorAddr(m, stun.AttrXORMappedAddress)
		}
		b.rtt, refused = time.Since(last), ok && !r.ok
		return ok
	})
	switch {
	case refused:
		return b, errors.New("it refuses to answer")
	case err != nil:
		return b, noAnswer(err)
	}
	return b, nil
}
