//go:build !linux

package main

import (
	"net"
	"net/netip"
)

// granted is not known here.
func granted(net.PacketConn) (read, write int, known bool) { return 0, 0, false }

// udpDrops are not known here.
func udpDrops(func(netip.AddrPort, uint64)) bool { return false }
