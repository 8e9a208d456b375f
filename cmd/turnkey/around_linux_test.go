package main

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"turnkey/nattest/around"
)

func TestTraceSocketHearsRefusalsAndAnswers(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	conn, err := traceSocket(t.Context(), local, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	peer, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.WriteTo([]byte("answer"), conn.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if e, err := conn.ReadEcho(buf); err != nil || e != (around.Echo{From: local, N: 6}) {
		t.Errorf("got %+v, %v; want the 6 bytes of the answer", e, err)
	}
	peer.Close()
	if _, err := conn.WriteTo([]byte("to nobody"), peer.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if e, err := conn.ReadEcho(buf); err != nil || e != (around.Echo{From: local, ICMP: true, Type: 3}) {
		t.Errorf("got %+v, %v; want ICMP unreachable from %s", e, err, local)
	}
	_ = conn.SetReadDeadline(time.Now())
	for { // the kernel may tell of the refusal twice
		e, err := conn.ReadEcho(buf)
		if err != nil {
			break
		}
		if e.From.IsValid() {
			t.Errorf("got %+v, want nothing more", e)
		}
	}
}

func TestInterfacesHaveTheirAddresses(t *testing.T) {
	list, err := interfaces()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(i around.Interface) bool { return i.Loopback })
	if i < 0 || !slices.ContainsFunc(list[i].Addresses, func(p netip.Prefix) bool { return p.Addr().IsLoopback() }) {
		t.Errorf("got %+v, want a loopback interface with its address", list)
	}
}

func TestNestedAttributes(t *testing.T) {
	kind := []byte{8, 0, unix.IFLA_INFO_KIND, 0, 't', 'u', 'n', 0}
	other := []byte{5, 0, 9, 0, 1, 0, 0, 0} // padded
	if got := nested(append(other, kind...), unix.IFLA_INFO_KIND); got != "tun" {
		t.Errorf("got %q, want tun", got)
	}
	for _, bad := range [][]byte{nil, kind[:5], {3, 0, 1, 0}, {0xff, 0xff, 1, 0}, {0, 0, 0, 0, 0}, {5, 0, 9, 0, 1}} {
		if got := nested(bad, unix.IFLA_INFO_KIND); got != "" {
			t.Errorf("% x: got %q, want none", bad, got)
		}
	}
}
