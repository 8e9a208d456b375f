// Package around looks at what is around a NAT: this machine's way out, the
// routers in front of it, what the first of them offers, and what meddles with
// HTTP. Config hands in every socket; what the answers mean is decided by
// functions without I/O.
//
// Nothing is sent further than four hops but to the server itself.
package around

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Config is what Look needs. All members but Token are needed.
type Config struct {
	Host    string           // of the server, a name or an address
	Servers []netip.AddrPort // its STUN endpoints; the first of IPv4 is used
	API     bool             // its HTTP API answered
	Token   []byte           // value of NATTEST-TOKEN, nil for none
	// ListenPacket opens a UDP socket, network "udp4".
	ListenPacket func(ctx context.Context, network, addr string) (net.PacketConn, error)
	// DialContext connects TCP, or UDP to hear of refusals.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	System
}

// System is what the operating system tells and opens. A nil member is not
// there on this system, and what it is for is not tested.
type System struct {
	// Interfaces lists the interfaces that are up.
	Interfaces func() ([]Interface, error)
	// Routes lists the default routes of IPv4, the best first.
	Routes func() ([]Route, error)
	// Trace opens a UDP socket whose packets live for ttl hops.
	Trace func(ctx context.Context, local netip.Addr, ttl int) (TraceConn, error)
	// Near connects TCP with packets that live for ttl hops.
	Near func(ctx context.Context, address netip.AddrPort, ttl int) (net.Conn, error)
	// Multicast opens a UDP socket whose multicasts leave by the interface
	// that has the address local.
	Multicast func(ctx context.Context, local netip.Addr) (net.PacketConn, error)
}

// Interface is a network interface.
type Interface struct {
	Name      string
	Kind      string // what the system calls it: wireguard, tun, ppp, veth...; "" is hardware, or not known
	MTU       int    // bytes
	Loopback  bool
	Addresses []netip.Prefix
}

// Route is a default route.
type Route struct {
	Interface string
	Gateway   netip.Addr // zero for a link without one
}

// Bounds on what one look may cost.
const (
	lookTime  = 1600 * time.Millisecond // altogether
	firstWait = 250 * time.Millisecond  // before a request is repeated (RFC 6886 section 3.1)
	giveUp    = 550 * time.Millisecond  // when nothing has answered
	maxAnswer = 64 << 10                // bytes of one HTTP answer
)

// Look gathers everything at the same time. Report.Conclude then says what it
// means. It ends within 1.6 seconds, and leaves no goroutine.
func Look(ctx context.Context, c Config) *Report {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	r := &Report{}
	var wg sync.WaitGroup
	wg.Go(func() { r.CaptivePortal = c.portal(ctx) })
	if i := slices.IndexFunc(c.Servers, func(a netip.AddrPort) bool { return a.Addr().Is4() }); i < 0 {
		r.skip("the server has no IPv4 address")
	} else if local, err := c.egress(ctx, c.Servers[i]); err != nil {
		r.skip("this machine has no way to the server over IPv4")
	} else {
		r.Local, r.VPN = c.local(local)
		wg.Go(func() { c.walk(ctx, c.Servers[i], r) })
		c.protocols(ctx, &wg, r)
	}
	wg.Wait()
	return r
}

// egress returns the local address that leads to the server. Nothing is sent.
func (c *Config) egress(ctx context.Context, server netip.AddrPort) (netip.Addr, error) {
	conn, err := c.DialContext(ctx, "udp4", server.String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	return addrPort(conn.LocalAddr()).Addr(), nil
}

// within ends connection attempts with ctx: net/http would let them go on after
// their request has ended.
func within(ctx context.Context, dial dialFunc) dialFunc {
	return func(dctx context.Context, network, addr string) (net.Conn, error) {
		dctx, cancel := context.WithCancel(dctx)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		return dial(dctx, network, addr)
	}
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// addrPort is a socket's address without an IPv6 wrapping.
func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// sleep waits, and says whether there is still time.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
