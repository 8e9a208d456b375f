package main

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/net/ipv4"

	"turnkey/nattest/around"
)

// natSystem is what nattest may look at and open on this system.
func natSystem() *around.System {
	s := &around.System{Interfaces: interfaces, Multicast: multicast, Near: near}
	natSystemHere(s)
	return s
}

// interfaces lists the interfaces that are up, with their addresses.
func interfaces() ([]around.Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	kinds := interfaceKinds()
	var out []around.Interface
	for _, i := range list {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		found := around.Interface{Name: i.Name, Kind: kinds[i.Name], MTU: i.MTU, Loopback: i.Flags&net.FlagLoopback != 0}
		as, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range as {
			if p, err := netip.ParsePrefix(strings.Split(a.String(), "%")[0]); err == nil {
				found.Addresses = append(found.Addresses, p)
			}
		}
		out = append(out, found)
	}
	return out, nil
}

// multicast opens a UDP socket whose multicasts leave by the interface of local.
func multicast(ctx context.Context, local netip.Addr) (net.PacketConn, error) {
	var l net.ListenConfig
	conn, err := l.ListenPacket(ctx, "udp4", netip.AddrPortFrom(local, 0).String())
	if err != nil {
		return nil, err
	}
	// Without it the system may choose another interface: then only the
	// gateway, which is asked by its own address, answers.
	if i := interfaceOf(local); i != nil {
		_ = ipv4.NewPacketConn(conn).SetMulticastInterface(i)
	}
	return conn, nil
}

// near connects TCP with packets that live for ttl hops.
func near(ctx context.Context, address netip.AddrPort, ttl int) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if outer := c.Control(func(fd uintptr) { err = setTTL(fd, ttl) }); outer != nil {
			return outer
		}
		return err
	}}
	return d.DialContext(ctx, "tcp4", address.String())
}

// interfaceOf finds the interface with an address, nil if there is none.
func interfaceOf(a netip.Addr) *net.Interface {
	list, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range list {
		as, _ := i.Addrs()
		for _, has := range as {
			if p, err := netip.ParsePrefix(has.String()); err == nil && p.Addr() == a {
				return &i
			}
		}
	}
	return nil
}
