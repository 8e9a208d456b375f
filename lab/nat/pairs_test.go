//go:build linux

package nat

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"

	"turnkey/lab/need"
	"turnkey/lab/netns"
	"turnkey/nattest"
)

// hostNet is a host's network as pion asks for it: sockets are opened there.
type hostNet struct {
	*stdnet.Net
	host *netns.Host
}

func netOf(t *testing.T, h *netns.Host) transport.Net {
	t.Helper()
	n := hostNet{host: h}
	err := h.Do(func() (err error) {
		n.Net, err = stdnet.NewNet()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n hostNet) ListenPacket(network, address string) (conn net.PacketConn, err error) {
	err = n.host.Do(func() error {
		conn, err = n.Net.ListenPacket(network, address)
		return err
	})
	return conn, err
}

func (n hostNet) ListenUDP(network string, local *net.UDPAddr) (conn transport.UDPConn, err error) {
	err = n.host.Do(func() error {
		conn, err = n.Net.ListenUDP(network, local)
		return err
	})
	return conn, err
}

// peerKinds are the networks of which every pair is tried.
var peerKinds = []struct {
	name  string
	place place
	want  truth
}{
	{"open", onInternet(""), open},
	{"firewall", onInternet(filter("input", `iifname lo accept`, `ct state established,related accept`, `meta l4proto udp drop`)), truth{}},
	{"EIM/EIF", inHome(kind("eim", "eif")), fullCone},
	{"EIM/ADF", inHome(kind("eim", "adf")), restricted},
	{"EIM/APDF", inHome(kind("eim", "apdf")), homeRouter},
	{"EIM/APDF*", inHome(masquerade), noGuard},
	{"ADM/EIF", inHome(kind("adm", "eif")), truth{}},
	{"ADM/ADF", inHome(kind("adm", "adf")), truth{}},
	{"ADM/APDF", inHome(kind("adm", "apdf")), truth{}},
	{"APDM/EIF", inHome(kind("apdm", "eif")), truth{}},
	{"APDM/ADF", inHome(kind("apdm", "adf")), truth{}},
	{"APDM/APDF", inHome(kind("apdm", "apdf")), truth{}},
	{"pool", inPool("numgen inc mod 3"), truth{}},
}

func TestPairsOfKernelNATs(t *testing.T) {
	w := newWorld(t)
	runs := 4
	var clients [2][]*netns.Host
	for side := range clients {
		for _, k := range peerKinds {
			clients[side] = append(clients[side], k.place(t, w))
		}
	}
	var mu sync.Mutex
	got := map[string]int{}
	t.Run("sessions", func(t *testing.T) {
		for i := range peerKinds {
			for j := range i + 1 {
				name := peerKinds[i].name + " x " + peerKinds[j].name
				for run := range runs {
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						a, b := clients[0][i], clients[1][j]
						if run%2 == 1 {
							a, b = b, a
						}
						if session(t, netOf(t, a), netOf(t, b), server+":3478", 4*time.Second, reflexive, ice.NetworkTypeUDP4) {
							mu.Lock()
							got[name]++
							mu.Unlock()
						}
					})
				}
			}
		}
	})
	for i := range peerKinds {
		row := fmt.Sprintf("%-10s", peerKinds[i].name)
		for j := range i + 1 {
			row += fmt.Sprintf("%3d/%d", got[peerKinds[i].name+" x "+peerKinds[j].name], runs)
		}
		t.Log(row)
	}
	_ = need.Long
	_ = strings.Fields
	_ = nattest.Unknown
}
