package around

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// maxTTL is how many hops a packet of a trace lives at most.
const maxTTL = 4

// TraceConn is a UDP socket that hears what ICMP says of its packets.
type TraceConn interface {
	net.PacketConn
	// ReadEcho waits for an ICMP error or a datagram, of which it keeps what
	// fits in buf.
	ReadEcho(buf []byte) (Echo, error)
}

// Echo is what came back for a packet.
type Echo struct {
	From netip.Addr // who sent it
	ICMP bool       // an ICMP error (RFC 792), else a datagram of N bytes
	Type uint8      // of the error
	N    int
}

// ICMP types of RFC 792.
const (
	unreachable  = 3
	timeExceeded = 11
)

// walk asks the server how it sees this machine, and traces the way to it and
// the way to the address that it saw.
func (c *Config) walk(ctx context.Context, server netip.AddrPort, r *Report) {
	if c.Trace == nil {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.Hops = c.trace(ctx, r.Local.Address, server) })
	r.mapped = c.binding(ctx, r.Local.Address, server)
	if seen := r.mapped.Addr(); space(seen) != "public" || r.Local.has(seen) {
		return
	}
	// The port is one that this machine has open and that no NAT has seen: a
	// router that sends everything that comes in on to this machine is not
	// mistaken for one that passes the address on to somebody else.
	unused, err := c.ListenPacket(ctx, "udp4", net.JoinHostPort(r.Local.Address.String(), "0"))
	if err != nil {
		return
	}
	defer unused.Close()
	r.OwnHops = c.trace(ctx, r.Local.Address, netip.AddrPortFrom(r.mapped.Addr(), addrPort(unused.LocalAddr()).Port()))
}

func (l *Local) has(a netip.Addr) bool {
	i := Interface{Addresses: l.Addresses}
	return l.Address == a || i.has(a)
}

// trace sends Binding requests that live for 1 to 4 hops, each from a socket of
// its own: routers need not return enough of a packet to tell one from another.
// A request is repeated until something comes back. Longer lives begin a little
// later and end when a shorter one was enough: routers answer few at a time.
func (c *Config) trace(ctx context.Context, local netip.Addr, to netip.AddrPort) []Hop {
	hops := make([]Hop, maxTTL)
	enough := make([]context.CancelFunc, maxTTL)
	var wg sync.WaitGroup
	for i := range hops {
		within := ctx
		ctx, enough[i] = context.WithCancel(within)
		defer enough[i]()
		wg.Go(func() {
			hops[i] = Hop{TTL: i + 1, State: "silent"}
			if i == 0 || sleep(within, time.Duration(i)*hopGap) {
				c.hop(within, local, to, &hops[i])
			}
			if hops[i].State == "reached" {
				enough[i]()
			}
		})
	}
	wg.Wait()
	return upTo(hops)
}

// Times of a trace.
const (
	hopGap   = 40 * time.Millisecond  // between the first packets of two hops
	hopAgain = 110 * time.Millisecond // before a packet is repeated
	hopSends = 3
	hopWait  = 420 * time.Millisecond // altogether
)

// upTo cuts off what lies behind the first hop that was reached.
func upTo(hops []Hop) []Hop {
	for i, h := range hops {
		if h.State == "reached" && !slices.ContainsFunc(hops[i:], func(h Hop) bool { return h.State == "router" }) {
			return hops[:i+1]
		}
	}
	return hops
}

// hop finds out what becomes of packets that live for h.TTL hops.
func (c *Config) hop(ctx context.Context, local netip.Addr, to netip.AddrPort, h *Hop) {
	ctx, cancel := context.WithTimeout(ctx, hopWait)
	defer cancel()
	conn, err := c.Trace(ctx, local, h.TTL)
	if err != nil {
		return
	}
	defer conn.Close()
	m, err := c.request()
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	heard := make(chan Hop, 1)
	go func() { heard <- listen(conn, to.Addr(), h.TTL) }()
	sends := 0
	again := time.NewTicker(hopAgain)
	defer again.Stop()
	for {
		if sends++; sends <= hopSends {
			if _, err := conn.WriteTo(m.Raw, net.UDPAddrFromAddrPort(to)); err != nil {
				// The system may tell of an ICMP error this way instead of sending.
				conn.WriteTo(m.Raw, net.UDPAddrFromAddrPort(to))
			}
		}
		select {
		case *h = <-heard:
			h.Sends = min(sends, hopSends)
			return
		case <-again.C:
		}
	}
}

// listen waits for something that means something, until the deadline.
func listen(conn TraceConn, target netip.Addr, ttl int) Hop {
	buf := make([]byte, 1500)
	for {
		e, err := conn.ReadEcho(buf)
		if err != nil {
			return Hop{TTL: ttl, State: "silent"}
		}
		if state := judge(e, target); state != "" {
			return Hop{TTL: ttl, State: state, Address: e.From, Space: space(e.From)}
		}
	}
}

// judge says what an echo means, "" that it means nothing. An ICMP error in the
// target's own name shows that the target was reached.
func judge(e Echo, target netip.Addr) string {
	switch {
	case !e.From.IsValid():
	case e.From == target && (!e.ICMP || e.Type == unreachable):
		return "reached"
	case e.ICMP && e.Type == timeExceeded && e.From != target:
		return "router"
	case e.ICMP && e.Type == unreachable:
		return "unreachable"
	}
	return ""
}
