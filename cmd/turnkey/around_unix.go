//go:build unix

package main

import "golang.org/x/sys/unix"

// setTTL lets the IPv4 packets of a socket live for ttl hops.
func setTTL(fd uintptr, ttl int) error {
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, ttl)
}
