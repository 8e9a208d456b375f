//go:build !linux

package turnsrv

import "net"

// relaySocket makes the socket of a relay.
func relaySocket(conn net.PacketConn) socket { return asSocket(conn) }
