//go:build linux

package nat

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"golang.org/x/sys/unix"

	"turnkey/lab/netns"
)

// place builds the network of a topology around a world and returns the
// machine that the probe runs on.
type place func(t *testing.T, w *world) *netns.Host

// put places a machine, and returns with it what makes its routers forget every
// flow, and what its filters noted: the next run must not find ports that are
// open, or taken, from the last one.
func (tt topology) put(t *testing.T, w *world) (client *netns.Host, forget func()) {
	t.Helper()
	before := len(w.routers)
	client = tt.place(t, w)
	routers := slices.Clone(w.routers[before:])
	return client, func() {
		for _, r := range routers {
			r.Run("sh", "-c", "conntrack -F; nft flush map ip inbound from; nft flush set ip inbound ok; true")
		}
	}
}

// inHome is a home whose router has these rules, in which WAN stands for its
// address on the internet.
func inHome(rules string) place {
	return func(t *testing.T, w *world) *netns.Host { return w.behind(t, rules).client }
}

// onInternet is a machine with a public address, and rules of its own.
func onInternet(rules string) place {
	return func(t *testing.T, w *world) *netns.Host {
		h, _ := w.outside(t)
		if rules != "" {
			h.NFT(rules)
		}
		return h
	}
}

// inPool is a home whose router has three addresses more: POOL stands for an
// nftables map of 0, 1 and 2 to them.
func inPool(rule string) place {
	return func(t *testing.T, w *world) *netns.Host {
		first := w.last + 1
		w.last += 3
		table := fmt.Sprintf("map { 0: 203.0.113.%d, 1: 203.0.113.%d, 2: 203.0.113.%d }", first, first+1, first+2)
		h := w.behind(t, source(`oifname "wan0" meta l4proto udp snat to `+rule+" "+table, `oifname "wan0" masquerade`)+guarded)
		for i := range 3 {
			h.router.Addr("wan0", fmt.Sprintf("203.0.113.%d/24", first+i))
		}
		return h.client
	}
}

// inCGN is a home behind an operator's NAT (RFC 6888).
func inCGN(home, operator string) place {
	return func(t *testing.T, w *world) *netns.Host {
		o := w.behind(t, operator)
		o.router.Addr("lan0", "100.64.0.1/24")
		// The client of the operator is a router itself.
		r := o.client
		r.Addr("eth0", "100.64.0.2/24")
		n := netns.New(t)
		client := n.Host("inner")
		r.Cable("lan0", client, "eth0")
		r.Addr("lan0", "192.168.9.1/24")
		r.Sysctl("net.ipv4.ip_forward", "1")
		client.Addr("eth0", "192.168.9.2/24")
		client.Route("default", "via", "192.168.9.1")
		w.routers = append(w.routers, r)
		r.NFT(strings.NewReplacer("WAN", "100.64.0.2", "wan0", "eth0").Replace(home))
		return client
	}
}

// twoUplinks is a home whose router has two ways to the internet, each with an
// address of its own; choose sets the mark 1 on new flows for the second one.
func twoUplinks(choose string) place {
	return func(t *testing.T, w *world) *netns.Host {
		h := w.behind(t, source(`oifname "wan0" masquerade`, `oifname "wan1" masquerade`)+`table inet guard {
	chain input { type filter hook input priority 0; policy drop
		iifname "lan0" accept
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
	}
}
table ip balance {
	chain pre { type filter hook prerouting priority mangle
		iifname "lan0" ct state new ct mark set `+choose+`
		meta mark set ct mark
	}
}
`)
		w.last++
		h.router.Join(w.wan, "wan1", fmt.Sprintf("203.0.113.%d/24", w.last))
		h.router.Sysctl("net.ipv4.conf.all.rp_filter", "0")
		h.router.Sysctl("net.ipv4.conf.wan1.rp_filter", "0")
		h.router.Route("203.0.113.0/24", "dev", "wan1", "table", "100")
		h.router.Run("ip", "rule", "add", "fwmark", "1", "table", "100")
		return h.client
	}
}

// withVPN is a home from which one address of the server is reached through a
// VPN, which has a NAT of its own.
func withVPN(t *testing.T, w *world) *netns.Host {
	h, exit := w.behind(t, kind("eim", "apdf")), w.behind(t, kind("eim", "apdf"))
	h.client.Cable("tun0", exit.router, "vpn0")
	h.client.Addr("tun0", "10.8.0.2/24")
	exit.router.Addr("vpn0", "10.8.0.1/24")
	h.client.Route(server2, "via", "10.8.0.1")
	return h.client
}

// nat64 is a network without IPv4, whose router translates (RFC 6146): by
// tayga from IPv6 and then by the kernel to one address.
func nat64(t *testing.T, w *world) *netns.Host {
	h := w.behind(t, source(`oifname "wan0" masquerade`)+guarded)
	inner := fmt.Sprintf("2001:db8:%d::", h.n)
	h.client.Run("ip", "addr", "del", homeIP+"/24", "dev", "eth0")
	h.router.Addr("lan0", inner+"1/64", "fe80::1/64")
	h.client.Addr("eth0", inner+"2/64")
	h.client.Route("default", "via", inner+"1")
	h.router.Sysctl("net.ipv6.conf.all.forwarding", "1")
	dir := t.TempDir()
	conf := filepath.Join(dir, "tayga.conf")
	if err := os.WriteFile(conf, []byte("tun-device nat64\nipv4-addr 192.168.255.1\nipv6-addr "+inner+"64\nprefix "+prefix64+"::/96\ndynamic-pool 192.168.255.0/24\ndata-dir "+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.router.Run("tayga", "-c", conf, "--mktun")
	h.router.Run("ip", "link", "set", "nat64", "up")
	h.router.Route("192.168.255.0/24", "dev", "nat64")
	h.router.Route(prefix64+"::/96", "dev", "nat64")
	daemon := h.router.Command(t.Context(), "tayga", "-c", conf, "-d")
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = daemon.Wait() }) // it ends with its namespace, or before
	return h.client
}

// prefix64 is the /96 behind which NAT64 has IPv4.
const prefix64 = "2001:db8:64"

// crowded is a home in which another machine holds a flow to server2 from one
// port of the few that the probe's machine has: where the probe takes that one,
// the router has to take another port for that destination alone.
func crowded(t *testing.T, w *world) *netns.Host {
	h := w.behind(t, kind("eim", "apdf"))
	neighbor := netns.New(t).Host("neighbor")
	h.router.Cable("lan1", neighbor, "eth0")
	h.router.Addr("lan1", "192.168.2.1/24")
	neighbor.Addr("eth0", "192.168.2.2/24")
	neighbor.Route("default", "via", "192.168.2.1")
	h.client.Sysctl("net.ipv4.ip_local_port_range", "40000 40031")
	conn := listen(t, neighbor, "192.168.2.2:40017")
	for _, port := range []uint16{3478, 3479} {
		if _, err := conn.WriteTo(make([]byte, 20), net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(server2), port))); err != nil {
			t.Fatal(err)
		}
	}
	return h.client
}

// listen opens a UDP socket on h until t ends.
func listen(t *testing.T, h *netns.Host, at string) (conn net.PacketConn) {
	t.Helper()
	err := h.Do(func() (err error) {
		conn, err = net.ListenPacket("udp4", at)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// late is a home to which what the server's second port says takes a slow way
// of its own, so that answers overtake each other.
func late(t *testing.T, w *world) *netns.Host {
	h := w.behind(t, kind("eim", "apdf"))
	h.router.Cable("lan1", h.client, "eth1")
	h.client.Sysctl("net.ipv4.conf.all.rp_filter", "0")
	h.client.Sysctl("net.ipv4.conf.eth1.rp_filter", "0")
	h.router.Route(homeIP, "dev", "lan1", "table", "100")
	h.router.Run("ip", "rule", "add", "ipproto", "udp", "sport", "3479", "table", "100")
	h.router.Run("tc", "qdisc", "add", "dev", "lan1", "root", "tbf", "rate", "40kbit", "burst", "300", "latency", "2s")
	return h.client
}

// forged is a machine on the internet to whose ports somebody sends answers in
// the server's name all the time, with another address in them.
func forged(t *testing.T, w *world) *netns.Host {
	h, ip := w.outside(t)
	h.Sysctl("net.ipv4.ip_local_port_range", "40000 40255")
	forger, _ := w.outside(t)
	conn := rawUDP(t, forger)
	to := netip.MustParseAddr(ip)
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for ctx := t.Context(); ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
			for port := uint16(40000); port < 40256; port += 2 {
				for _, from := range []string{server, server2} {
					packet := forgedAnswer(netip.AddrPortFrom(netip.MustParseAddr(from), 3478+port/2%2), netip.AddrPortFrom(to, port))
					_ = unix.Sendto(conn, packet, 0, &unix.SockaddrInet4{Addr: to.As4()})
				}
			}
		}
	}()
	return h
}

// rawUDP opens a socket that sends whole IPv4 packets.
func rawUDP(t *testing.T, h *netns.Host) (fd int) {
	t.Helper()
	err := h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// forgedAnswer is an IPv4 packet with a Binding success response that answers
// nothing: 20 bytes of IP, 8 of UDP without a checksum, and STUN.
func forgedAnswer(from, to netip.AddrPort) []byte {
	m := stun.MustBuild(stun.TransactionID, stun.BindingSuccess, &stun.XORMappedAddress{IP: net.IPv4(198, 51, 100, 1), Port: 1234})
	b := make([]byte, 28, 28+len(m.Raw))
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP // the kernel fills length and checksum
	copy(b[12:], from.Addr().AsSlice())
	copy(b[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[20:], from.Port())
	binary.BigEndian.PutUint16(b[22:], to.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(m.Raw)))
	return append(b, m.Raw...)
}

// forgetful is a home whose router forgets a flow that rests for a second, and
// then takes another port.
func forgetful(t *testing.T, w *world) *netns.Host {
	h := w.behind(t, kind("eim other port", "apdf"))
	h.router.Sysctl("net.netfilter.nf_conntrack_udp_timeout", "1")
	h.router.Sysctl("net.netfilter.nf_conntrack_udp_timeout_stream", "1")
	return h.client
}

// rewriting is an ALG that puts the client's own address into MAPPED-ADDRESS
// where that is the first attribute, and drops the UDP checksum.
const rewriting = `table ip alg {
	chain c { type filter hook forward priority 10
		udp sport 3478-3479 @th,224,16 0x0001 @th,288,32 set 0xc0a80102 udp checksum set 0
	}
}
`

// inIPv6 is a home with IPv6, whose router has these rules for it.
func inIPv6(rules string) place {
	return func(t *testing.T, w *world) *netns.Host {
		h := w.behind(t, masquerade+rules)
		w.ipv6(h)
		return h.client
	}
}

// stateful6 lets in over IPv6 what answers.
const stateful6 = `table ip6 filter {
	chain c { type filter hook forward priority 0
		ct state established,related accept
		iifname "wan0" drop
	}
}
`
