package turnsrv

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// thinSocket is a UDP socket whose reader waits on a small stack. Each relay has
// a goroutine that waits for what peers send; the read of *net.UDPConn, under
// pion's loop, needs a little more than the 2 kB that a stack begins with, so
// that it would double. Only one goroutine may read.
type thinSocket struct {
	*net.UDPConn
	raw  syscall.RawConn
	read func(fd uintptr) bool // receive as a value, made once

	// Of the read at hand.
	buf  []byte
	n    int
	from unix.RawSockaddrInet6 // or, in its place, a RawSockaddrInet4
	err  syscall.Errno
}

// relaySocket makes the socket of a relay.
func relaySocket(conn net.PacketConn) socket {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return asSocket(conn)
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return udp
	}
	s := &thinSocket{UDPConn: udp, raw: raw}
	s.read = s.receive
	return s
}

// ReadFromUDPAddrPort is that of *net.UDPConn, without zones.
func (s *thinSocket) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	s.buf = p
	if err := s.raw.Read(s.read); err != nil {
		return 0, netip.AddrPort{}, err
	}
	if s.err != 0 {
		return 0, netip.AddrPort{}, os.NewSyscallError("recvfrom", s.err)
	}
	return s.n, s.sender(), nil
}

// receive takes a datagram from the socket, or reports that there is none yet.
func (s *thinSocket) receive(fd uintptr) bool {
	for {
		size := uint32(unsafe.Sizeof(s.from))
		n, _, err := unix.Syscall6(unix.SYS_RECVFROM, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(s.buf))), uintptr(len(s.buf)), 0,
			uintptr(unsafe.Pointer(&s.from)), uintptr(unsafe.Pointer(&size)))
		if err != unix.EINTR {
			s.n, s.err = int(n), err
			return err != unix.EAGAIN
		}
	}
}

// sender returns where the datagram comes from.
func (s *thinSocket) sender() netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&s.from.Port))[:]) // in network order
	if s.from.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&s.from)).Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(s.from.Addr), port)
}
