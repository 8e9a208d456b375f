package nattest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// observation is what the sockets of one family saw, before it is judged.
type observation struct {
	why      string // why nothing was tested, "" when something was
	trials   []Trial
	evidence []Evidence
	tally    tally            // of the filtering test
	own      []netip.AddrPort // endpoints of the server, if trials ask others, too
	notes    []string         // what limits the evidence
	disturbs string           // whether unsolicited packets change a mapping, "" where the evidence tells
	nat      string           // whether there is a NAT, "" where the sockets' own addresses tell
}

// answers counts the answered tests.
func (o observation) answers() (n int) {
	for _, t := range o.trials {
		for _, a := range t.Answers {
			if a.Mapped.IsValid() {
				n++
			}
		}
	}
	return n
}

// found is what came of it in a few words.
func (o observation) found() string {
	if o.why != "" {
		return "not tested"
	}
	n := o.answers()
	return fmt.Sprintf("%d %s", n, plural(n, "answer"))
}

// endpoints lists those that were asked.
func (o observation) endpoints() (out []netip.AddrPort) {
	for _, t := range o.trials {
		for _, a := range t.Answers {
			if !slices.Contains(out, a.Endpoint) {
				out = append(out, a.Endpoint)
			}
		}
	}
	return out
}

// heard lists the endpoints that answered.
func (o observation) heard() (out []netip.AddrPort) {
	for _, t := range o.trials {
		for _, a := range t.Answers {
			if a.Mapped.IsValid() && !slices.Contains(out, a.Endpoint) {
				out = append(out, a.Endpoint)
			}
		}
	}
	return out
}

// egress learns from which local address this machine reaches the endpoints,
// and keeps those reached from the same one: a socket bound to one address
// must not be judged by what another way out does.
func (c *Config) egress(ctx context.Context, network string, eps []netip.AddrPort) (local netip.Addr, kept []netip.AddrPort, why string) {
	from := map[netip.Addr]netip.Addr{}
	for _, ep := range eps {
		l, seen := from[ep.Addr()]
		if !seen {
			conn, err := c.DialContext(ctx, network, ep.String())
			if err != nil {
				why = fmt.Sprintf("this machine cannot send to %s: %s", ep.Addr(), plain(err))
			} else {
				l = addrPort(conn.LocalAddr()).Addr()
				conn.Close()
			}
			from[ep.Addr()] = l
		}
		if l.IsValid() && (!local.IsValid() || l == local) {
			local, kept = l, append(kept, ep)
		}
	}
	return local, kept, why
}

// arrival is a datagram that came in, or word that one was refused.
type arrival struct {
	raw     []byte
	from    netip.AddrPort
	socket  int
	at      time.Time
	refused bool // an ICMP error came: nothing listens where the socket sent to
}

// machine decides, without I/O, what a test sends and when it is over.
type machine interface {
	// next returns what is due now, and when to call again (or that all is over).
	next(now time.Time) (out []packet, wake time.Time, over bool)
	// receive takes a datagram and says whether it was one of the test's.
	receive(raw []byte, from netip.AddrPort, socket int, now time.Time) bool
}

// drive moves packets between a test and its sockets until it is over. It
// closes the sockets and leaves no goroutine.
func (c *Config) drive(ctx context.Context, p machine, socks []net.PacketConn) {
	in, stop := make(chan arrival, 64), make(chan struct{})
	var readers sync.WaitGroup
	for i, s := range socks {
		readers.Go(func() { readAll(s, i, in, stop) })
	}
	defer readers.Wait()
	defer func() {
		close(stop)
		for _, s := range socks {
			s.Close()
		}
	}()
	refuse := func(int) {}
	if r, ok := p.(interface{ refuse(socket int) }); ok {
		refuse = r.refuse
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		out, wake, over := p.next(time.Now())
		for _, k := range out {
			err := send(socks[k.socket], k)
			if errors.Is(err, syscall.ECONNREFUSED) { // an earlier packet was, and this one not sent
				refuse(k.socket)
				err = send(socks[k.socket], k)
			}
			if err != nil {
				c.Log.Debug("nattest: sending", "to", k.to, "err", err)
			}
		}
		if over {
			return
		}
		timer.Reset(time.Until(wake))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case a := <-in:
			if a.refused {
				refuse(a.socket)
			} else {
				p.receive(a.raw, a.from, a.socket, a.at)
			}
		}
	}
}

func send(s net.PacketConn, k packet) error {
	_, err := s.WriteTo(k.raw, net.UDPAddrFromAddrPort(k.to))
	return err
}

// readAll hands a socket's datagrams on until the socket is closed.
func readAll(s net.PacketConn, socket int, in chan<- arrival, stop <-chan struct{}) {
	buf := make([]byte, 2048)
	for failures := 0; failures < 100; {
		n, from, err := s.ReadFrom(buf)
		select {
		case <-stop:
			return
		default:
		}
		a := arrival{raw: append([]byte(nil), buf[:n]...), from: addrPort(from), socket: socket, at: time.Now()}
		if err != nil { // a closed socket has stop closed
			failures++
			if a.refused = errors.Is(err, syscall.ECONNREFUSED); !a.refused {
				continue
			}
		}
		select {
		case in <- a:
		case <-stop:
			return
		}
	}
}

// addrPort is a socket address without an embedded IPv4 or a zone.
func addrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
