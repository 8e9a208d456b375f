//go:build linux

package nat

import (
	"fmt"
	"testing"

	"github.com/pion/ice/v4"

	"turnkey/lab/netns"
)

// Pairs that the matrix does not hold: of one NAT, and with IPv6.
func TestPairsBesidesTheMatrix(t *testing.T) {
	for _, tt := range []struct {
		name   string
		places func(*testing.T, *world) (a, b *netns.Host)
		host   string // of the probe
		stun   string
		types  []ice.NetworkType
		want   string
		reach  bool
	}{
		{"in one home", oneLAN, both, server + ":3478", []ice.NetworkType{ice.NetworkTypeUDP4}, "likely_direct", true},
		{"in two homes of one operator's NAT", oneCGN, both, server + ":3478", []ice.NetworkType{ice.NetworkTypeUDP4}, unknown, false},
		{"symmetric NATs, and IPv6", twoWithIPv6, "dual.lab:8080", "[" + server6 + "]:3478", []ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6}, "direct", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			one, other := tt.places(t, w)
			t.Parallel()
			a, b := probed(t, one, tt.host), probed(t, other, tt.host)
			if p := predict(t, a, b); p.Outcome != tt.want {
				t.Errorf("predicted %s (%s and %s, %s and %s: %s), want %s", p.Outcome, p.A.V4, p.B.V4, p.A.V6, p.B.V6, p.Reason, tt.want)
			}
			if got := session(t, netOf(t, one), netOf(t, other), tt.stun, patience, anyDirect, tt.types...); got != tt.reach {
				t.Errorf("ICE had success %t, want %t", got, tt.reach)
			}
		})
	}
}

// oneLAN is two machines on one Ethernet behind one router.
func oneLAN(t *testing.T, w *world) (a, b *netns.Host) {
	h := w.behind(t, kind("eim", "apdf"))
	b = netns.New(t).Host("second")
	h.router.Cable("lan1", b, "eth0")
	h.router.Run("ip", "addr", "del", "192.168.1.1/24", "dev", "lan0")
	h.router.Run("ip", "link", "add", "br0", "type", "bridge")
	for _, dev := range []string{"lan0", "lan1"} {
		h.router.Run("ip", "link", "set", dev, "master", "br0")
	}
	h.router.Run("ip", "link", "set", "br0", "up")
	h.router.Addr("br0", "192.168.1.1/24")
	b.Addr("eth0", "192.168.1.3/24")
	b.Route("default", "via", "192.168.1.1")
	return h.client, b
}

// oneCGN is two homes, with the same addresses inside, that an operator's NAT
// puts behind one address; it passes nothing between them.
func oneCGN(t *testing.T, w *world) (a, b *netns.Host) {
	o := w.behind(t, kind("eim", "apdf"))
	n := netns.New(t)
	var clients [2]*netns.Host
	for i := range clients {
		r, outer := n.Host(fmt.Sprint("home", i)), fmt.Sprintf("100.64.%d", i)
		clients[i] = n.Host(fmt.Sprint("inner", i))
		o.router.Cable(fmt.Sprint("cust", i), r, "wan0")
		o.router.Addr(fmt.Sprint("cust", i), outer+".1/24")
		r.Addr("wan0", outer+".2/24")
		r.Route("default", "via", outer+".1")
		r.Cable("lan0", clients[i], "eth0")
		r.Addr("lan0", "192.168.1.1/24")
		r.Sysctl("net.ipv4.ip_forward", "1")
		r.NFT(kind("eim", "apdf"))
		clients[i].Addr("eth0", fmt.Sprintf("192.168.1.%d/24", 2+i))
		clients[i].Route("default", "via", "192.168.1.1")
	}
	return clients[0], clients[1]
}

// twoWithIPv6 is two homes behind symmetric NATs that have IPv6 besides, each
// behind a stateful firewall.
func twoWithIPv6(t *testing.T, w *world) (a, b *netns.Host) {
	one, other := w.behind(t, kind("apdm", "apdf")+stateful6), w.behind(t, kind("apdm", "apdf")+stateful6)
	w.ipv6(one)
	w.ipv6(other)
	one.router.Route(fmt.Sprintf("2001:db8:%d::/64", other.n), "via", fmt.Sprintf("2001:db8::%d", other.n))
	other.router.Route(fmt.Sprintf("2001:db8:%d::/64", one.n), "via", fmt.Sprintf("2001:db8::%d", one.n))
	return one.client, other.client
}
