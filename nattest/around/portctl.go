package around

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// controlPort is where NAT-PMP and PCP listen (RFC 6887 section 19.3).
const controlPort = 5351

// protocols asks the gateway what it offers, by all protocols at once.
func (c *Config) protocols(ctx context.Context, wg *sync.WaitGroup, r *Report) {
	gateway, why := r.Local.Gateway, ""
	switch {
	case c.Routes == nil:
		why = notHere
	case !gateway.IsValid():
		why = "no default gateway is known on " + r.Local.Interface
	case space(gateway) == "public": // a neighbor or the operator, whom it does not concern
		why = "the gateway " + gateway.String() + " has a public address: it is no NAT of a home"
	}
	if why != "" {
		for _, p := range []*Protocol{&r.NATPMP, &r.PCP, &r.UPnP} {
			*p = Protocol{State: NotTested, Why: why, Mapping: NotTested}
		}
		return
	}
	// Both are on one port. A router sends few ICMP errors, and the traces
	// need some: where the first is refused the second is not tried.
	refused := make(chan struct{})
	wg.Go(func() {
		if r.NATPMP = c.natPMP(ctx, gateway); r.NATPMP == closedPort {
			close(refused)
		}
	})
	wg.Go(func() {
		select {
		case <-refused:
			r.PCP = closedPort
		case <-time.After(40 * time.Millisecond):
			r.PCP = c.pcp(ctx, gateway)
		}
	})
	wg.Go(func() { r.UPnP = c.upnp(ctx, r.Local.Address, gateway) })
}

// ask sends a request until take accepts an answer, twice, and gives up after
// 550 ms. The connection takes datagrams of its peer only.
func ask(ctx context.Context, conn net.Conn, request []byte, take func([]byte) bool) error {
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxPCP)
	var err error
	for _, wait := range []time.Duration{firstWait, giveUp - firstWait} {
		conn.SetReadDeadline(time.Now().Add(wait))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err = conn.Write(request); err != nil {
			return err
		}
		for {
			var n int
			if n, err = conn.Read(buf); err != nil {
				break
			}
			if take(buf[:n]) {
				return nil
			}
		}
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			return err
		}
	}
	return err
}

// closedPort is what a refusal says.
var closedPort = Protocol{State: Absent, Why: "nothing listens on port 5351 of the router", Mapping: NotTested}

// silence says what it means that ask failed.
func silence(err error) Protocol {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) {
		return closedPort
	}
	return Protocol{State: Unknown, Why: "no answer", Mapping: NotTested}
}

func (c *Config) control(ctx context.Context, gateway netip.Addr) (net.Conn, error) {
	return c.DialContext(ctx, "udp4", netip.AddrPortFrom(gateway, controlPort).String())
}

// natPMP asks for the external address (RFC 6886 section 3.2). It opens no port.
func (c *Config) natPMP(ctx context.Context, gateway netip.Addr) Protocol {
	conn, err := c.control(ctx, gateway)
	if err != nil {
		return silence(err)
	}
	defer conn.Close()
	var p Protocol
	err = ask(ctx, conn, []byte{0, 0}, func(b []byte) (ok bool) {
		p, ok = parseNATPMP(b)
		return ok
	})
	if err != nil {
		return silence(err)
	}
	return p
}

// parseNATPMP reads the answer to an external address request.
func parseNATPMP(b []byte) (Protocol, bool) {
	if len(b) < 8 || len(b) > 16 || b[0] != 0 || b[1] != 128 {
		return Protocol{}, false
	}
	switch code := binary.BigEndian.Uint16(b[2:]); {
	case code == 0 && len(b) >= 12:
		p := Protocol{State: Available, Mapping: NotTested}
		if a := netip.AddrFrom4([4]byte(b[8:12])); usable(a) {
			p.External = a
		} else {
			p.Why = "the router knows no external address"
		}
		return p, true
	case code == 0:
		return Protocol{}, false
	case code == 1:
		return Protocol{State: Absent, Why: "the router speaks another version", Mapping: NotTested}, true
	case code == 3: // "network failure": there is no external address
		return Protocol{State: Available, Why: "the router has no external address that would do (result 3)", Mapping: NotTested}, true
	default:
		return Protocol{State: Refused, Why: fmt.Sprintf("the router answers with result %d (RFC 6886 section 3.5)", code), Mapping: NotTested}, true
	}
}

// usable says whether an address may be that of a router.
func usable(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// Sizes and numbers of PCP (RFC 6887 sections 7 and 11).
const (
	maxPCP      = 1100
	pcpHeader   = 24
	pcpMap      = pcpHeader + 36
	opAnnounce  = 0
	opMap       = 1
	udpProtocol = 17
)

// pcp asks whether there is a PCP server and, if there is, for a port to the
// socket it asks from: only so it tells the external address (RFC 6887 section
// 11.6). The port is given back at once; it leads to nothing but that socket.
func (c *Config) pcp(ctx context.Context, gateway netip.Addr) Protocol {
	conn, err := c.control(ctx, gateway)
	if err != nil {
		return silence(err)
	}
	defer conn.Close()
	local := addrPort(conn.LocalAddr())
	var p Protocol
	exchange := func(request []byte) error {
		return ask(ctx, conn, request, func(b []byte) (ok bool) {
			p, ok = parsePCP(b, request)
			return ok
		})
	}
	if err := exchange(pcpRequest(opAnnounce, 0, local, [12]byte{})); err != nil {
		return silence(err)
	}
	if p.State != Available {
		return p
	}
	var nonce [12]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return p
	}
	if err := exchange(pcpRequest(opMap, 120, local, nonce)); err != nil {
		p.Mapping, p.Why = Unknown, "no answer to the request for a port"
	}
	if p.Mapping != No {
		back := pcpRequest(opMap, 0, local, nonce)
		_ = ask(ctx, conn, back, func(b []byte) bool { _, ok := parsePCP(b, back); return ok })
	}
	return p
}

// pcpRequest builds an ANNOUNCE or a MAP for the socket that asks.
func pcpRequest(op byte, lifetime uint32, client netip.AddrPort, nonce [12]byte) []byte {
	b := make([]byte, pcpHeader, pcpMap)
	b[0], b[1] = 2, op
	binary.BigEndian.PutUint32(b[4:], lifetime)
	from := client.Addr().As16() // RFC 6887 section 5: an IPv4 address as ::ffff:a.b.c.d
	copy(b[8:], from[:])
	if op == opMap {
		b = append(b, nonce[:]...)
		b = append(b, udpProtocol, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, client.Port())
		b = binary.BigEndian.AppendUint16(b, 0) // any port
		anyone := netip.IPv4Unspecified().As16()
		b = append(b, anyone[:]...)
	}
	return b
}

// parsePCP reads the answer to a request, which tells ANNOUNCE from MAP.
func parsePCP(b, request []byte) (Protocol, bool) {
	if len(b) >= 4 && b[0] == 0 { // a NAT-PMP server refuses the version (RFC 6886 section 3.5)
		return Protocol{State: Absent, Why: "the router speaks NAT-PMP only", Mapping: NotTested}, b[1]&0x80 != 0
	}
	if len(b) < pcpHeader || len(b) > maxPCP || len(b)%4 != 0 || b[1] != 0x80|request[1] {
		return Protocol{}, false
	}
	code := b[3]
	isMap := request[1] == opMap
	switch {
	case b[0] != 2 && code != 1, isMap && code == 0 && len(b) < pcpMap,
		isMap && len(b) >= pcpMap && string(b[24:36]) != string(request[24:36]):
		return Protocol{}, false
	case code == 1:
		return Protocol{State: Absent, Why: "the router speaks another version", Mapping: NotTested}, true
	case code != 0 && isMap:
		return Protocol{State: Available, Why: fmt.Sprintf("the router opens no port: result %d (RFC 6887 section 7.4)", code), Mapping: No}, true
	case code != 0:
		return Protocol{State: Refused, Why: fmt.Sprintf("the router answers with result %d (RFC 6887 section 7.4)", code), Mapping: NotTested}, true
	case !isMap:
		return Protocol{State: Available, Mapping: Unknown}, true
	}
	p := Protocol{State: Available, Mapping: Yes}
	if a := netip.AddrFrom16([16]byte(b[44:60])).Unmap(); usable(a) {
		p.External = a
	}
	return p, true
}
