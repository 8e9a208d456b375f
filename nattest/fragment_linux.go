package nattest

import (
	"net"
	"syscall"
)

// dontFragment makes the system send a socket's packets whole or not at all
// (DF of RFC 791). Where it cannot, nothing changes.
func dontFragment(l link) { discover(l, syscall.IP_PMTUDISC_DO) }

// mayFragment ends that.
func mayFragment(l link) { discover(l, syscall.IP_PMTUDISC_WANT) }

func discover(l link, how int) {
	p, ok := l.(*packetLink)
	if !ok {
		return
	}
	s, ok := p.PacketConn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	local, ok := p.LocalAddr().(*net.UDPAddr)
	if !ok {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if local.IP.To4() != nil {
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, how)
		} else {
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER, how)
		}
	})
}
