package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"turnkey/configs"
)

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestFindPublic(t *testing.T) {
	for _, tt := range []struct {
		name, outbound, want, from string
		bound                      []netip.Addr
		hint                       bool
	}{
		{"public beside private", "", "8.8.4.4", "on interface", addrs("127.0.0.1", "10.0.0.1", "8.8.4.4"), false},
		{"private towards the internet", "10.0.0.2", "10.0.0.2", "private address", addrs("127.0.0.1", "172.17.0.1", "10.0.0.2"), true},
		{"first private without a route", "", "172.17.0.1", "private address", addrs("127.0.0.1", "172.17.0.1", "10.0.0.2"), true},
		{"carrier's NAT", "", "100.64.0.9", "private address", addrs("100.64.0.9"), true},
		{"loopback alone", "", "127.0.0.1", "loopback", addrs("127.0.0.1", "::1"), true},
		{"IPv6 alone", "", "127.0.0.1", "loopback", addrs("2a00:1450::1"), true},
	} {
		var outbound netip.Addr
		if tt.outbound != "" {
			outbound = netip.MustParseAddr(tt.outbound)
		}
		got := findPublic(tt.bound, nil, outbound)
		if got.addr.String() != tt.want || !strings.HasPrefix(got.from, tt.from) || (got.hint != "") != tt.hint {
			t.Errorf("%s: got %+v, want %s %s", tt.name, got, tt.want, tt.from)
		}
	}
}

func TestListenAddrs(t *testing.T) {
	ifaces := []ifaceAddr{
		{"lo", netip.MustParseAddr("127.0.0.1")}, {"lo", netip.MustParseAddr("::1")},
		{"eth0", netip.MustParseAddr("8.8.4.4")}, {"eth0", netip.MustParseAddr("fe80::1")}, {"eth0", netip.MustParseAddr("fd00::1")},
		{"eth1", netip.MustParseAddr("8.8.4.4")}, {"eth1", netip.MustParseAddr("169.254.1.1")},
	}
	if got, want := listenAddrs(nil, ifaces), addrs("127.0.0.1", "::1", "8.8.4.4", "fd00::1"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := listenAddrs(addrs("8.8.4.4"), ifaces), addrs("8.8.4.4"); !slices.Equal(got, want) {
		t.Errorf("asked for one: got %v, want %v", got, want)
	}
}

// Behind a 1:1 NAT the advertised address is nobody's here.
func TestRelayBind(t *testing.T) {
	bound := addrs("127.0.0.1", "10.0.0.2", "10.0.0.3")
	for advertised, want := range map[string]string{"10.0.0.3": "10.0.0.3", "8.8.4.4": "10.0.0.2"} {
		if got := relayBind(netip.MustParseAddr(advertised), bound, netip.MustParseAddr("10.0.0.2")); got.String() != want {
			t.Errorf("advertised %s: got %v, want %s", advertised, got, want)
		}
	}
	if got := relayBind(netip.MustParseAddr("8.8.4.4"), addrs("127.0.0.1"), netip.MustParseAddr("10.0.0.2")); got.String() != "127.0.0.1" {
		t.Errorf("bound to loopback only: got %v, want 127.0.0.1", got)
	}
}

func TestFindIPv6(t *testing.T) {
	for want, bound := range map[string][]netip.Addr{
		"2a00:1450::1": addrs("127.0.0.1", "::1", "fd00::1", "2a00:1450::1"),
		"fd00::1":      addrs("8.8.4.4", "fd00::1", "fd00::2"),
		"invalid IP":   addrs("127.0.0.1", "::1", "8.8.4.4"),
	} {
		if got := findIPv6(bound); got.String() != want {
			t.Errorf("%v: got %v, want %s", bound, got, want)
		}
	}
}

func TestFindAlternate(t *testing.T) {
	const cannot = "find the address of TURNKEY_ALT_IP="
	for _, tt := range []struct {
		alt, bound, primary string
		want                string // address/address, or what the fault says
	}{
		{"8.8.8.8", "127.0.0.1 8.8.4.4 8.8.8.8", "8.8.4.4", "8.8.8.8/8.8.8.8"},
		{"8.8.8.8", "127.0.0.1 10.0.0.1 10.0.0.2 fd00::1", "10.0.0.1", "8.8.8.8/10.0.0.2"},
		{"8.8.8.8/10.0.0.3", "10.0.0.1 10.0.0.2 10.0.0.3", "10.0.0.1", "8.8.8.8/10.0.0.3"},
		{"2a00::8", "10.0.0.1 2a00::7 2a00::8", "2a00::7", "2a00::8/2a00::8"},
		{"8.8.8.8", "10.0.0.1 10.0.0.2 10.0.0.3", "10.0.0.1", "may lead to 10.0.0.2, 10.0.0.3; write which, e.g. TURNKEY_ALT_IP=8.8.8.8/10.0.0.2"},
		{"8.8.8.8", "127.0.0.1 10.0.0.1 2a00::8", "10.0.0.1", "no second address"},
		{"8.8.8.8", "8.8.4.4 8.8.8.8", "8.8.8.8", "8.8.8.8 is the first address of this machine already"},
		{"8.8.8.8/10.0.0.9", "10.0.0.1 10.0.0.2", "10.0.0.1", "does not listen on 10.0.0.9"},
	} {
		var alt configs.AltIP
		if err := alt.UnmarshalText([]byte(tt.alt)); err != nil {
			t.Fatal(err)
		}
		found, err := findAlternate(alt, addrs(strings.Fields(tt.bound)...), netip.MustParseAddr(tt.primary))
		if err == nil && found.String() != tt.want || err != nil && (!strings.HasPrefix(err.Error(), cannot+tt.alt) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s of %s: got %v, %v; want %s", tt.alt, tt.bound, found, err, tt.want)
		}
	}
}
