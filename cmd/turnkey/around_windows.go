package main

import "syscall"

// setTTL lets the IPv4 packets of a socket live for ttl hops.
func setTTL(fd uintptr, ttl int) error {
	return syscall.SetsockoptInt(syscall.Handle(fd), syscall.IPPROTO_IP, syscall.IP_TTL, ttl)
}
