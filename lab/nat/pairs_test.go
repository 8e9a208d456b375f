//go:build linux

package nat

import (
	"fmt"
	"net"
	"slices"
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
	"turnkey/nattest/match"
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
}{
	{"open", onInternet("")},
	{"firewall", onInternet(hostFirewall)},
	{"EIM/EIF", inHome(kind("eim", "eif"))},
	{"EIM/ADF", inHome(kind("eim", "adf"))},
	{"EIM/APDF", inHome(kind("eim", "apdf"))},
	{"disturbed", inHome(masquerade)}, // EIM/APDF, and the router takes strangers' packets
	{"ADM/EIF", inHome(kind("adm", "eif"))},
	{"ADM/ADF", inHome(kind("adm", "adf"))},
	{"ADM/APDF", inHome(kind("adm", "apdf"))},
	{"APDM/EIF", inHome(kind("apdm", "eif"))},
	{"APDM/ADF", inHome(kind("apdm", "adf"))},
	{"APDM/APDF", inHome(kind("apdm", "apdf"))},
	{"pool", inPool("numgen inc mod 3")},
	{"no UDP", inHome(masquerade + filter("forward", "meta l4proto udp drop"))},
}

// telling are the pairs that the short form tries.
var telling = []string{
	"EIM/APDF and EIM/APDF", "EIM/APDF and firewall", "APDM/APDF and open", "APDM/APDF and EIM/EIF", "APDM/APDF and EIM/ADF",
	"APDM/APDF and EIM/APDF", "APDM/APDF and APDM/APDF", "ADM/EIF and EIM/APDF", "ADM/EIF and ADM/EIF", "disturbed and EIM/ADF",
	"disturbed and EIM/APDF", "disturbed and disturbed", "pool and EIM/ADF", "no UDP and open",
}

// peer is a machine of the pairs, and what nattest says there.
type peer struct {
	client *netns.Host
	report func() (*nattest.Report, error)
}

// peerIn places a machine; it is probed when its report is asked for first.
func peerIn(t *testing.T, w *world, p place) *peer {
	return probed(t, p(t, w), both)
}

// probed is a machine on which nattest asks host.
func probed(t *testing.T, client *netns.Host, host string) *peer {
	return &peer{client, sync.OnceValues(func() (*nattest.Report, error) {
		return match.Read(strings.NewReader(turnkey(t, client, apiKey, "nattest", "-json", host).out))
	})}
}

// What match predicts from two reports is what ICE then does.
func TestPairsOfKernelNATs(t *testing.T) {
	w := newWorld(t)
	runs := 2
	if need.Long() {
		runs = 6
	}
	peers := map[string]*peer{} // by kind and side
	table := newGrades()
	t.Run("sessions", func(t *testing.T) {
		for i, a := range peerKinds {
			for _, b := range peerKinds[:i+1] {
				name := a.name + " and " + b.name
				if !need.Long() && !slices.Contains(telling, name) {
					continue
				}
				for _, k := range []struct {
					key   string
					place place
				}{{"A " + a.name, a.place}, {"B " + b.name, b.place}} {
					if peers[k.key] == nil {
						peers[k.key] = peerIn(t, w, k.place)
					}
				}
				one, other := peers["A "+a.name], peers["B "+b.name]
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					p := predict(t, one, other)
					reached := 0
					for run := range runs {
						if run%2 == 1 {
							one, other = other, one
						}
						if session(t, netOf(t, one.client), netOf(t, other.client), server+":3478", patience, reflexive, ice.NetworkTypeUDP4) {
							reached++
						}
					}
					table.add(a.name, b.name, fmt.Sprintf("%s %d/%d", p.Outcome, reached, runs))
					judge(t, p, reached, runs)
				})
			}
		}
	})
	table.log(t, kindNames()...)
}

// patience is how long two agents may try to reach each other; sessions that
// succeed do within a fraction of it.
const patience = 4 * time.Second

func predict(t *testing.T, a, b *peer) *match.Prediction {
	t.Helper()
	var reports [2]*nattest.Report
	for i, p := range []*peer{a, b} {
		r, err := p.report()
		if err != nil {
			t.Fatal(err)
		}
		reports[i] = r
	}
	return match.Predict(reports[0], reports[1])
}

// judge holds a prediction against the sessions that reached the other side.
// Where one router takes strangers' packets it is a race whose packet is first,
// so that nobody can tell; elsewhere somebody can.
func judge(t *testing.T, p *match.Prediction, reached, runs int) {
	t.Helper()
	right := false
	switch p.Outcome {
	case "direct", "likely_direct":
		right = reached == runs
	case "unlikely":
		right = reached < runs
	case "relay_needed":
		right = reached == 0
	case unknown:
		right = strings.Contains(t.Name(), "disturbed")
	}
	if !right {
		t.Errorf("predicted %s (%s and %s: %s), yet %d of %d sessions reached the other side", p.Outcome, p.A.V4, p.B.V4, p.Reason, reached, runs)
	}
}

func kindNames() (out []string) {
	for _, k := range peerKinds {
		out = append(out, k.name)
	}
	return out
}
