package main

import (
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// fleeting returns the addresses that this machine will drop by itself.
func fleeting() []netip.Addr {
	table, _ := os.ReadFile("/proc/net/if_inet6")
	return fleeting6(string(table))
}

// fleeting6 reads /proc/net/if_inet6: address, interface, prefix length, scope,
// flags, name, all but the last as hex. Addresses are temporary (RFC 8981) or
// deprecated by their flags in linux/if_addr.h.
func fleeting6(table string) (list []netip.Addr) {
	const temporary, deprecated = 0x01, 0x20
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		b, err := hex.DecodeString(f[0])
		flags, bad := strconv.ParseUint(f[4], 16, 32)
		if err == nil && bad == nil && len(b) == 16 && flags&(temporary|deprecated) != 0 {
			list = append(list, netip.AddrFrom16([16]byte(b)))
		}
	}
	return list
}
