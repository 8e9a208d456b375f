package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"turnkey/nattest/around"
)

// natSystemHere adds what only Linux is known to give to programs that are
// not root.
func natSystemHere(s *around.System) {
	s.Trace = traceSocket
	s.Routes = func() ([]around.Route, error) {
		table, err := os.ReadFile("/proc/net/route")
		return defaultRoutes(string(table)), err
	}
}

// interfaceKinds asks the kernel what interfaces are: veth, tun, wireguard...
// Hardware has no kind.
func interfaceKinds() map[string]string {
	raw, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return nil
	}
	messages, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return nil
	}
	kinds := map[string]string{}
	for _, m := range messages {
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if m.Header.Type != unix.RTM_NEWLINK || err != nil {
			continue
		}
		var name, kind string
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.IFLA_IFNAME:
				name = unix.ByteSliceToString(a.Value)
			case unix.IFLA_LINKINFO:
				kind = nested(a.Value, unix.IFLA_INFO_KIND)
			}
		}
		kinds[name] = kind
	}
	return kinds
}

// nested returns the text of one attribute among netlink attributes.
func nested(b []byte, want uint16) string {
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return ""
		}
		if binary.NativeEndian.Uint16(b[2:]) == want {
			return unix.ByteSliceToString(b[unix.SizeofRtAttr:size])
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return ""
}

// traceSocket opens a UDP socket whose packets live for ttl hops, and that the
// kernel tells of ICMP errors (ip(7), IP_RECVERR).
func traceSocket(ctx context.Context, local netip.Addr, ttl int) (around.TraceConn, error) {
	l := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if outer := c.Control(func(fd uintptr) {
			if err = setTTL(fd, ttl); err == nil {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
			}
		}); outer != nil {
			return outer
		}
		return err
	}}
	conn, err := l.ListenPacket(ctx, "udp4", netip.AddrPortFrom(local, 0).String())
	if err != nil {
		return nil, err
	}
	udp := conn.(*net.UDPConn)
	raw, err := udp.SyscallConn()
	if err != nil {
		udp.Close()
		return nil, err
	}
	return &tracer{udp, raw}, nil
}

type tracer struct {
	*net.UDPConn
	raw syscall.RawConn
}

// ReadEcho returns what the kernel was told by ICMP, or a datagram.
func (t *tracer) ReadEcho(buf []byte) (e around.Echo, err error) {
	outer := t.raw.Read(func(fd uintptr) bool {
		var control [512]byte
		var n, oobn int
		_, oobn, _, _, err = unix.Recvmsg(int(fd), buf, control[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err == nil {
			e = parseExtended(control[:oobn])
			return true
		}
		var from unix.Sockaddr
		n, from, err = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
		switch err {
		case nil:
			e.N = n
			if in4, ok := from.(*unix.SockaddrInet4); ok {
				e.From = netip.AddrFrom4(in4.Addr)
			}
		case unix.EAGAIN, unix.EINTR:
			return false
		default: // the error of which the error queue tells more
			err = nil
		}
		return true
	})
	if outer != nil {
		return e, outer
	}
	if err != nil {
		err = fmt.Errorf("read from a trace socket: %w", err)
	}
	return e, err
}

// parseExtended reads a struct sock_extended_err and the address after it, of
// whoever sent the ICMP message.
func parseExtended(control []byte) (e around.Echo) {
	const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return e
	}
	for _, m := range messages {
		if m.Header.Level != unix.IPPROTO_IP || m.Header.Type != unix.IP_RECVERR || len(m.Data) < size+8 {
			continue
		}
		// origin and type follow the errno; the address is a sockaddr_in.
		if m.Data[4] == unix.SO_EE_ORIGIN_ICMP && binary.NativeEndian.Uint16(m.Data[size:]) == unix.AF_INET {
			e.ICMP, e.Type = true, m.Data[5]
			e.From = netip.AddrFrom4([4]byte(m.Data[size+4 : size+8]))
		}
	}
	return e
}
