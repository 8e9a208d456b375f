//go:build !linux

package main

import "net"

// socketsPerAddress is 1: other systems do not spread clients over sockets, or
// move them to another while they talk.
func socketsPerAddress() int { return 1 }

func listenShared(at string) (net.PacketConn, error) { return net.ListenPacket("udp", at) }
