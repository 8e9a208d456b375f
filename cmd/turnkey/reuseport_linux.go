package main

import (
	"context"
	"errors"
	"net"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketsPerAddress is how many UDP sockets serve TURN on each address: one for
// each CPU that the process may use.
func socketsPerAddress() int { return runtime.GOMAXPROCS(0) }

// listenShared opens a UDP socket whose address others of this user may share.
// Packets of one client always reach the same of them.
func listenShared(at string) (net.PacketConn, error) {
	share := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, failed)
	}}
	return share.ListenPacket(context.Background(), "udp", at)
}
