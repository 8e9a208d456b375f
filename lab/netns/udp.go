//go:build linux

package netns

import "net"

// Listen opens a UDP socket on h, at an address of it, which is closed when the
// test ends. Where that fails the test ends.
func (h *Host) Listen(address string) net.PacketConn {
	h.t.Helper()
	var conn net.PacketConn
	err := h.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", address)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Answer opens a UDP socket as Listen does, and sends each datagram's sender
// what answer makes of it; nil is no answer. It returns the socket's address.
func (h *Host) Answer(address string, answer func(datagram []byte, from net.Addr) []byte) net.Addr {
	h.t.Helper()
	conn := h.Listen(address)
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if b := answer(buf[:n], from); b != nil {
				_, _ = conn.WriteTo(b, from)
			}
		}
	}()
	return conn.LocalAddr()
}

// Echo is Answer with what came.
func (h *Host) Echo(address string) net.Addr {
	h.t.Helper()
	return h.Answer(address, func(datagram []byte, _ net.Addr) []byte { return datagram })
}
