package turnsrv

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// thin opens a relay socket and one that sends to it.
func thin(t testing.TB, network string, at net.IP) (s socket, from *net.UDPConn, to netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP(network, &net.UDPAddr{IP: at})
	if err != nil {
		t.Fatal(err)
	}
	if from, err = net.ListenUDP(network, &net.UDPAddr{IP: at}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); from.Close() })
	s = relaySocket(conn)
	if _, ok := s.(*thinSocket); !ok {
		t.Fatalf("got a %T", s)
	}
	return s, from, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestThinSocketReads(t *testing.T) {
	for network, at := range map[string]net.IP{"udp4": net.IPv4(127, 0, 0, 1), "udp6": net.IPv6loopback} {
		s, from, to := thin(t, network, at)
		b := make([]byte, 100)
		for _, want := range []string{"x", "", strings.Repeat("y", 100), strings.Repeat("z", 101)} {
			if _, err := from.WriteToUDPAddrPort([]byte(want), to); err != nil {
				t.Fatal(err)
			}
			n, got, err := s.ReadFromUDPAddrPort(b)
			if want = want[:min(len(want), len(b))]; err != nil || string(b[:n]) != want || got != from.LocalAddr().(*net.UDPAddr).AddrPort() {
				t.Errorf("%s: got %q from %v, %v, want %q from %v", network, b[:n], got, err, want, from.LocalAddr())
			}
		}
	}
}

// It waits for what is not there yet, until it is closed.
func TestThinSocketWaits(t *testing.T) {
	s, from, to := thin(t, "udp4", net.IPv4(127, 0, 0, 1))
	got, failed := make(chan string), make(chan error)
	go func() {
		for b := make([]byte, 100); ; {
			n, _, err := s.ReadFromUDPAddrPort(b)
			if err != nil {
				failed <- err
				return
			}
			got <- string(b[:n])
		}
	}()
	for _, want := range []string{"one", "two"} {
		if _, err := from.WriteToUDPAddrPort([]byte(want), to); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-got:
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		case err := <-failed:
			t.Fatalf("got %v, want %q", err, want)
		}
	}
	s.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: got %v, want %v", err, net.ErrClosed)
	}
	_ = s.SetReadDeadline(time.Now())
	if _, _, err := s.ReadFromUDPAddrPort(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after that: got %v, want %v", err, net.ErrClosed)
	}
}

func TestThinSocketDoesNotAllocate(t *testing.T) {
	s, from, to := thin(t, "udp4", net.IPv4(127, 0, 0, 1))
	b := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := from.WriteToUDPAddrPort(b, to); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.ReadFromUDPAddrPort(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}
