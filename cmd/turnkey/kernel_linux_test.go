package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
)

const udpTable = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n" +
	"  312: 0100007F:0D96 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12345 2 0000000000000000 17        \n" +
	" 1205: B80D0120000000000000000007000000:C008 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 2 2 0 3\n" +
	"short\n 1: nonsense:xx a b c d\n"

func TestDropsAreRead(t *testing.T) {
	got := ""
	if !readDrops(strings.NewReader(udpTable), func(local netip.AddrPort, drops uint64) { got += fmt.Sprintln(local, drops) }) {
		t.Error("got an unknown table")
	}
	if want := "127.0.0.1:3478 17\n[2001:db8::7]:49160 3\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if readDrops(strings.NewReader("another table\n"), func(netip.AddrPort, uint64) { t.Error("got a socket of it") }) {
		t.Error("got another table read")
	}
}

// The kernel drops what a full buffer cannot take, and says so.
func TestDropsAreSeen(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadBuffer(2048); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := conn.WriteTo(make([]byte, 1000), conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	var got uint64
	known := udpDrops(func(local netip.AddrPort, drops uint64) {
		if local == conn.LocalAddr().(*net.UDPAddr).AddrPort() {
			got += drops
		}
	})
	if !known || got < 20 || got >= 50 {
		t.Errorf("got %d drops (known: %t), want most of 50", got, known)
	}
}
