package nattest

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Sockets of Run beside those that the mapping is read from.
const (
	filterSockets  = 2
	reserveSockets = 3
)

// examine opens fresh sockets of one family and runs the probe on them. change
// is what the server's document says that CHANGE-REQUEST can do; where that has
// not come yet, late will bring it.
func (c *Config) examine(ctx context.Context, network string, p plan, change string, late <-chan news) observation {
	if len(p.own) == 0 {
		return observation{why: "the server has no address of this family"}
	}
	local, kept, why := c.egress(ctx, network, p.own)
	if len(kept) == 0 {
		return observation{why: why}
	}
	o := observation{}
	if len(kept) < len(p.own) {
		o.notes = append(o.notes, "this machine reaches the server's addresses from different local addresses; only those reached from "+local.String()+" were asked")
	}
	p.own, p.also = kept, c.sameWay(ctx, network, local, p.also)
	socks, err := c.fresh(ctx, network, local, p.sockets())
	if err != nil {
		return observation{why: "no UDP socket could be opened: " + plain(err)}
	}
	var addrs []netip.AddrPort
	for _, s := range socks {
		addrs = append(addrs, addrPort(s.LocalAddr()))
	}
	m := &scout{probe: newProbe(time.Now(), p), late: late, change: change, sameWay: func(eps []netip.AddrPort) []netip.AddrPort {
		return c.sameWay(ctx, network, local, eps)
	}}
	c.drive(ctx, m, socks)
	o.trials, o.evidence = m.trials(addrs), m.evidence(addrs)
	o.own = m.own
	o.tally = tallyOf(o.evidence, m.change)
	return o
}

// fresh opens n sockets on ports that are likely to be idle (RFC 5780 section
// 4.1), far from each other: a NAT that keeps some ports is not taken for one
// that keeps all.
func (c *Config) fresh(ctx context.Context, network string, local netip.Addr, n int) (socks []net.PacketConn, err error) {
	for i := range n {
		s, err := c.listen(ctx, network, local, i)
		if err != nil {
			for _, s := range socks {
				s.Close()
			}
			return nil, err
		}
		socks = append(socks, s)
	}
	return socks, nil
}

// listen opens socket i on a random port of an eighth of 32768 to 65535 that is
// its own, or on any port.
func (c *Config) listen(ctx context.Context, network string, local netip.Addr, i int) (net.PacketConn, error) {
	eighth := 32768 + 4096*[8]int{0, 4, 2, 6, 1, 5, 3, 7}[i%8]
	for range 8 {
		port := eighth + rand.IntN(4096)
		if port == 41641 || port == 51820 { // other programs have these, also elsewhere in this network
			continue
		}
		if s, err := c.ListenPacket(ctx, network, netip.AddrPortFrom(local, uint16(port)).String()); err == nil {
			return s, nil
		}
	}
	return c.ListenPacket(ctx, network, net.JoinHostPort(local.String(), "0"))
}

// sameWay keeps the endpoints that are reached from the same local address.
func (c *Config) sameWay(ctx context.Context, network string, local netip.Addr, eps []netip.AddrPort) (kept []netip.AddrPort) {
	for _, ep := range eps {
		if l, _, _ := c.egress(ctx, network, []netip.AddrPort{ep}); l == local {
			kept = append(kept, ep)
		}
	}
	return kept
}

// scout is the probe with what it needs to know from outside: endpoints that
// the server claims to have, and the server's document where that comes late.
type scout struct {
	*probe
	change  string
	late    <-chan news
	sameWay func([]netip.AddrPort) []netip.AddrPort
}

// news is the server's document, and the endpoints of one family by it. Without
// a document it says that there is none.
type news struct {
	document
	own []netip.AddrPort
}

// lookAgain is how often a scout looks for news.
const lookAgain = 20 * time.Millisecond

func (s *scout) next(now time.Time) ([]packet, time.Time, bool) {
	select {
	case n := <-s.late:
		s.late, s.change = nil, n.change
		if own := s.sameWay(n.own); len(own) > 0 {
			s.list(own, now)
		}
		s.show(n.token)
	default:
	}
	out, wake, over := s.probe.next(now)
	if !over && s.late != nil {
		wake = sooner(wake, now.Add(lookAgain))
	}
	return out, wake, over
}

func (s *scout) receive(raw []byte, from netip.AddrPort, socket int, now time.Time) bool {
	ok := s.probe.receive(raw, from, socket, now)
	if ok {
		if claimed := s.claim(); claimed != nil {
			kept := s.sameWay(claimed)
			s.declined = append(s.declined, claimed...)
			s.list(slices.Concat(s.own, kept), now)
		}
	}
	return ok
}
