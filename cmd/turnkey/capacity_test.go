package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"turnkey/configs"
)

func TestLimitOfFilesIsChecked(t *testing.T) {
	for _, tt := range []struct {
		limit uint64
		known bool
		most  int
		warns bool
	}{{1423, true, 0, true}, {1424, true, 0, false}, {1, false, 0, false}, {1424, true, 500, false}, {1044, true, 10, false}, {1043, true, 10, true}} {
		var log bytes.Buffer
		s := &server{sockets: &sockets{}, around: &surroundings{relay: netip.MustParseAddr("127.0.0.1")}, log: slog.New(slog.NewTextHandler(&log, nil))}
		s.cfg.RelayPorts, s.cfg.MaxAllocations = configs.PortRange{Min: 49160, Max: 49359}, tt.most
		s.checkFiles(tt.limit, tt.known)
		if got := strings.Contains(log.String(), "LimitNOFILE"); got != tt.warns {
			t.Errorf("%+v: got %q", tt, log.String())
		}
	}
}

func TestBuffersTellWhichSysctl(t *testing.T) {
	for _, tt := range []struct {
		read, write int
		want        string
	}{
		{4 << 20, 4 << 20, ""},
		{212992, 4 << 20, "sysctl -w net.core.rmem_max=4194304"},
		{4 << 20, 1, "sysctl -w net.core.wmem_max=4194304"},
		{1, 1, "sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304"},
	} {
		if got := shortOf(tt.read, tt.write, listenerBuffer); got != tt.want {
			t.Errorf("%d, %d: got %q, want %q", tt.read, tt.write, got, tt.want)
		}
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var log bytes.Buffer
	b := &buffers{log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 2 {
		b.set(conn, 16<<10)
		b.look(conn, 16<<10)
	}
	if log.Len() > 0 {
		t.Errorf("16 KiB: got %s, want them granted", log.String())
	}
	for range 2 { // more than any kernel gives
		b.set(conn, 1<<30)
		b.look(conn, 1<<30)
	}
	if _, _, known := granted(conn); known && strings.Count(log.String(), "net.core.rmem_max") != 1 {
		t.Errorf("1 GiB, twice: got %q, want one warning", log.String())
	}
}

func TestRelayPortsAreTried(t *testing.T) {
	ports, err := freePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := &server{around: &surroundings{relay: netip.MustParseAddr("127.0.0.1")}, log: slog.New(slog.NewTextHandler(&log, nil))}
	s.buffers = &buffers{log: slog.New(slog.DiscardHandler)}
	s.cfg.RelayPorts = configs.PortRange{Min: uint16(ports[0]), Max: uint16(ports[2])}
	if err := s.tryRelays(); err != nil || log.Len() > 0 {
		t.Errorf("free: got %v, %s", err, log.String())
	}
	for _, port := range []int{ports[0], ports[2], ports[0] + (ports[2]-ports[0])/2} {
		if log.Reset(); s.tryRelays() != nil {
			t.Errorf("before port %d: got an error, want one only where every port is taken", port)
		}
		conn, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if !strings.Contains(log.String(), "TURNKEY_RELAY_PORTS") {
		t.Errorf("some taken: got %q, want a warning", log.String())
	}
	if err := s.tryRelays(); err == nil || !strings.Contains(err.Error(), "TURNKEY_RELAY_PORTS") {
		t.Errorf("all taken: got %v, want an error that names the setting", err)
	}
}
