package turnsrv

import (
	"net"
	"net/netip"
)

// socket is a packet socket whose addresses are values, which costs no
// allocation for each packet. *net.UDPConn is one.
type socket interface {
	net.PacketConn
	ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error)
}

// asSocket makes a socket of any packet socket.
func asSocket(conn net.PacketConn) socket {
	if s, ok := conn.(socket); ok {
		return s
	}
	return anySocket{conn}
}

type anySocket struct{ net.PacketConn }

func (s anySocket) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	n, from, err := s.ReadFrom(p)
	return n, addrPort(from), err
}

func (s anySocket) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	return s.WriteTo(p, net.UDPAddrFromAddrPort(to))
}

// addrPort returns the IP address and port of a, unmapped, or the zero AddrPort.
func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return unmap(a.AddrPort())
	}
	return netip.AddrPort{}
}

// unmap writes an IPv4-mapped IPv6 address as the IPv4 address that it is.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
