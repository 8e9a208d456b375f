package around

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v3"
)

// tokenType is the attribute NATTEST-TOKEN of turnkey servers.
const tokenType stun.AttrType = 0xC07E

// request returns a Binding request of its own transaction.
func (c *Config) request() (*stun.Message, error) {
	m := &stun.Message{Type: stun.BindingRequest}
	if _, err := rand.Read(m.TransactionID[:]); err != nil {
		return nil, err
	}
	m.WriteHeader()
	if c.Token != nil {
		m.Add(tokenType, c.Token)
	}
	return m, nil
}

// binding asks the server for the address that it sees; zero when it does not
// answer in time.
func (c *Config) binding(ctx context.Context, local netip.Addr, server netip.AddrPort) netip.AddrPort {
	conn, err := c.ListenPacket(ctx, "udp4", net.JoinHostPort(local.String(), "0"))
	if err != nil {
		return netip.AddrPort{}
	}
	defer conn.Close()
	m, err := c.request()
	if err != nil {
		return netip.AddrPort{}
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 1500)
	for _, wait := range []time.Duration{100, 150, 250, 400} {
		conn.SetReadDeadline(time.Now().Add(wait * time.Millisecond))
		if ctx.Err() != nil {
			return netip.AddrPort{}
		}
		if _, err := conn.WriteTo(m.Raw, net.UDPAddrFromAddrPort(server)); err != nil {
			return netip.AddrPort{}
		}
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				break
			}
			if addrPort(from) != server {
				continue
			}
			if at, ok := mappedIn(buf[:n], m.TransactionID); ok {
				return at
			}
		}
	}
	return netip.AddrPort{}
}

// mappedIn reads the XOR-MAPPED-ADDRESS of the answer to a request.
func mappedIn(raw []byte, id [stun.TransactionIDSize]byte) (netip.AddrPort, bool) {
	m := &stun.Message{Raw: slices.Clone(raw)}
	var x stun.XORMappedAddress
	if !stun.IsMessage(raw) || m.Decode() != nil || m.TransactionID != id || m.Type != stun.BindingSuccess || x.GetFrom(m) != nil {
		return netip.AddrPort{}, false
	}
	ip, ok := netip.AddrFromSlice(x.IP)
	return netip.AddrPortFrom(ip.Unmap(), uint16(x.Port)), ok && x.Port > 0 && x.Port < 1<<16
}
