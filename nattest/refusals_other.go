//go:build !linux

package nattest

import "net"

// hearRefusals does nothing: where ICMP errors are not reported by themselves,
// nothing is refused.
func hearRefusals(net.PacketConn) {}
