package main

import (
	"bufio"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// granted returns the buffers that the kernel gave a socket. It counts its own
// bookkeeping, for which it doubles what was asked for (socket(7)).
func granted(conn net.PacketConn) (read, write int, known bool) {
	c, ok := conn.(*net.UDPConn)
	if !ok {
		return 0, 0, false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	var readErr, writeErr error
	err = raw.Control(func(fd uintptr) {
		read, readErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		write, writeErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	})
	return read / 2, write / 2, err == nil && readErr == nil && writeErr == nil
}

// udpDrops calls each with every UDP socket of this network namespace and how
// many datagrams the kernel has dropped because its buffer was full. It reports
// whether that is known.
func udpDrops(each func(local netip.AddrPort, drops uint64)) bool {
	known := false
	for _, name := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue // without IPv6 there is one only
		}
		known = readDrops(f, each) || known
		f.Close()
	}
	return known
}

// readDrops reads a table of /proc/net/udp: after a line of titles, one line a
// socket, the local address second and the drops last.
func readDrops(table io.Reader, each func(netip.AddrPort, uint64)) bool {
	lines := bufio.NewScanner(table)
	if !lines.Scan() || !strings.HasSuffix(strings.TrimSpace(lines.Text()), "drops") {
		return false
	}
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 3 {
			continue
		}
		local, ok := hexAddrPort(f[1])
		drops, err := strconv.ParseUint(f[len(f)-1], 10, 64)
		if ok && err == nil {
			each(local, drops)
		}
	}
	return lines.Err() == nil
}

// hexAddrPort reads an address as the kernel prints it: words of 32 bits in
// host byte order (little-endian on every system that turnkey is built for).
func hexAddrPort(s string) (netip.AddrPort, bool) {
	host, service, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	port, bad := strconv.ParseUint(service, 16, 16)
	if err != nil || bad != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), ok
}
