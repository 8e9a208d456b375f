package main

import (
	"slices"
	"testing"

	"turnkey/nattest/around"
)

func TestGateways(t *testing.T) {
	v4 := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n" +
		"eth1\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\nbroken\n\teth0\t00000000\tzz\n"
	if got, want := gateways4(v4), addrs("172.17.0.1"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	v4 = "tun0 00000000 00000000 0001 0 0 50 00000000\nwlan0 00000000 010011AC 0003 0 0 600 00000000\n" +
		"eth0 00000000 010012AC 0003 0 0 100 00000000\nwg0 00000000 00000000 0001 0 0 0 00000080\n"
	want := []around.Route{{Interface: "tun0"}, {Interface: "eth0", Gateway: addrs("172.18.0.1")[0]}, {Interface: "wlan0", Gateway: addrs("172.17.0.1")[0]}}
	if got := defaultRoutes(v4); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	v6 := "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n" +
		"fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n" +
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n"
	if got, want := gateways6(v6), addrs("fd00::1"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
