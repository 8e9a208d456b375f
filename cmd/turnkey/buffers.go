package main

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
)

// Bytes that the kernel may hold for one UDP socket while the program is busy.
const (
	listenerBuffer = 4 << 20
	relayBuffer    = 256 << 10
)

// buffers sets the buffers of UDP sockets, and warns once if the kernel gives less.
type buffers struct {
	log   *slog.Logger
	mu    sync.Mutex
	told  bool
	relay sync.Once // looks at the first relay socket; the others get the same
}

// set asks for size bytes in each direction. That less is granted is no error.
func (b *buffers) set(conn net.PacketConn, size int) {
	if c, ok := conn.(*net.UDPConn); ok {
		_ = c.SetReadBuffer(size)
		_ = c.SetWriteBuffer(size)
	}
}

// listener is set for a socket that clients are served on.
func (b *buffers) listener(conn net.PacketConn) {
	b.set(conn, listenerBuffer)
	b.look(conn, listenerBuffer)
}

// look compares what the kernel granted with what was asked for.
func (b *buffers) look(conn net.PacketConn, size int) {
	read, write, known := granted(conn)
	short := shortOf(read, write, size)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !known || short == "" || b.told {
		return
	}
	b.told = true
	b.log.Warn("the kernel gives UDP sockets less buffer than asked for, bursts may be lost: "+short,
		"asked", size, "receive", read, "send", write)
}

// shortOf says which sysctl to raise, or nothing.
func shortOf(read, write, size int) string {
	var fix []string
	for name, got := range map[string]int{"net.core.rmem_max": read, "net.core.wmem_max": write} {
		if got < size {
			fix = append(fix, fmt.Sprintf("%s=%d", name, size))
		}
	}
	if len(fix) == 2 && fix[0] > fix[1] {
		fix[0], fix[1] = fix[1], fix[0]
	}
	if len(fix) == 0 {
		return ""
	}
	return "sysctl -w " + strings.Join(fix, " ")
}
