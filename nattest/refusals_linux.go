package nattest

import (
	"net"
	"syscall"
)

// hearRefusals has the socket report ICMP errors (ip(7), IP_RECVERR), which an
// unconnected one does not do otherwise. Without it nothing is refused.
func hearRefusals(s net.PacketConn) {
	c, ok := s.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVERR, 1)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR, 1)
	})
}
