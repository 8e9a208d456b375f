package main

import (
	"cmp"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"turnkey/nattest/around"
)

// gateways returns the default gateways of this host.
func gateways() []netip.Addr {
	v4, _ := os.ReadFile("/proc/net/route")
	v6, _ := os.ReadFile("/proc/net/ipv6_route")
	return append(gateways4(string(v4)), gateways6(string(v6))...)
}

func gateways4(table string) (list []netip.Addr) {
	for _, r := range defaultRoutes(table) {
		if r.Gateway.IsValid() {
			list = append(list, r.Gateway)
		}
	}
	return list
}

// defaultRoutes reads /proc/net/route, the best route first: interface,
// destination, gateway (both as hex in host byte order, which is little-endian
// on every system that Go's builds of turnkey are for), flags, two counters,
// metric, mask, ...
func defaultRoutes(table string) []around.Route {
	type route struct {
		around.Route
		metric uint64
	}
	var list []route
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		b, err := hex.DecodeString(f[2])
		if err != nil || len(b) != 4 {
			continue
		}
		slices.Reverse(b)
		r := route{Route: around.Route{Interface: f[0]}}
		r.metric, _ = strconv.ParseUint(f[6], 10, 32)
		if a := netip.AddrFrom4([4]byte(b)); !a.IsUnspecified() {
			r.Gateway = a
		}
		list = append(list, r)
	}
	slices.SortStableFunc(list, func(a, b route) int { return cmp.Compare(a.metric, b.metric) })
	out := make([]around.Route, len(list))
	for i, r := range list {
		out[i] = r.Route
	}
	return out
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
