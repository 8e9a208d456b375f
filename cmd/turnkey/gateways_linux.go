package main

import (
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// gateways returns the default gateways of this host.
func gateways() []netip.Addr {
	v4, _ := os.ReadFile("/proc/net/route")
	v6, _ := os.ReadFile("/proc/net/ipv6_route")
	return append(gateways4(string(v4)), gateways6(string(v6))...)
}

// gateways4 reads /proc/net/route: interface, destination, gateway, ... as hex
// in host byte order (little-endian on every system that Go's builds of
// turnkey are for).
func gateways4(table string) (list []netip.Addr) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 3 || f[1] != "00000000" {
			continue
		}
		b, err := hex.DecodeString(f[2])
		if err != nil || len(b) != 4 {
			continue
		}
		slices.Reverse(b)
		if a := netip.AddrFrom4([4]byte(b)); !a.IsUnspecified() {
			list = append(list, a)
		}
	}
	return list
}

// gateways6 reads /proc/net/ipv6_route: destination, length, source, length,
// next hop, ... as hex in network byte order.
func gateways6(table string) (list []netip.Addr) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 5 || f[1] != "00" {
			continue
		}
		b, err := hex.DecodeString(f[4])
		if err != nil || len(b) != 16 {
			continue
		}
		if a := netip.AddrFrom16([16]byte(b)); !a.IsUnspecified() {
			list = append(list, a)
		}
	}
	return list
}
