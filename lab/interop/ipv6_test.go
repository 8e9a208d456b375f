//go:build linux

package interop

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"turnkey/lab/need"
)

// The same hosts' IPv6 addresses, of the documentation space as well.
const (
	serverIP6 = "2001:db8::10"
	clientIP6 = "2001:db8::20"
	peerIP6   = "2001:db8::30"
)

// start6 is start with both families.
func start6(t *testing.T, env ...string) world {
	t.Helper()
	return startWith(t, []addresses{four, {serverIP6, clientIP6, peerIP6, "/64"}}, append([]string{
		"TURNKEY_ALLOW_PEERS=" + peerIP + "," + peerIP6,
		"TURNKEY_MAX_ALLOCATIONS_PER_USER=0", "TURNKEY_MAX_ALLOCATIONS_PER_IP=0", "TURNKEY_MAX_CONNECTIONS_PER_IP=0",
	}, env...)...)
}

// ways6 are the ways with IPv6 between client and server, between relay and
// peer, or both.
var ways6 = []struct {
	name           string
	client6, peer6 bool
	args           []string
}{
	{"IPv6 to IPv4, channels", true, false, []string{"-e", peerIP}},
	{"IPv6 to IPv4, indications", true, false, []string{"-e", peerIP, "-s"}},
	{"IPv4 to IPv6, channels", false, true, []string{"-x", "-e", peerIP6}},
	{"IPv4 to IPv6, indications", false, true, []string{"-x", "-e", peerIP6, "-s"}},
	{"IPv6 to IPv6, channels", true, true, []string{"-x", "-e", peerIP6}},
	{"IPv6 to IPv6, indications", true, true, []string{"-x", "-e", peerIP6, "-s"}},
	{"IPv6 relay to relay", true, true, []string{"-x", "-y"}},
}

func TestCoturnClientsLoseNothingOverIPv6(t *testing.T) {
	clients, messages, size := 4, 50, 333 // odd: streams have to pad
	if need.Long() {
		clients, messages = 10, 500
	}
	w := start6(t)
	var all sync.WaitGroup // parallel tests would wait for each other, and uclient mostly waits itself
	for i, way := range ways6 {
		for j, network := range []string{"udp", "tcp"} {
			c := w.mint(t, fmt.Sprint("way-", 2*i+j))
			args := slices.Concat([]string{"-m", strconv.Itoa(clients), "-n", strconv.Itoa(messages), "-l", strconv.Itoa(size), "-z", interval}, way.args)
			if network == "tcp" {
				args = append(args, "-t")
			}
			if way.client6 {
				args = append(args, serverIP6) // of two servers uclient takes the first
			}
			all.Go(func() {
				got, err := w.uclient(t, c, args...)
				if want := (traffic{clients * messages, clients * messages, 0}); err != nil || got != want {
					t.Errorf("%s over %s: got %+v, error %v; want %+v", way.name, network, got, err, want)
				}
			})
		}
	}
	all.Wait()
	w.checkCounted(t, 2*len(ways6), clients, clients*messages*size)
	if !t.Failed() {
		w.checkFamilies(t)
	}
}

// checkFamilies checks that every session of ways6 had the families of its
// way: uclient would not tell.
func (w world) checkFamilies(t *testing.T) {
	t.Helper()
	for _, r := range w.Log.Records("session ended") {
		if r.Text("label") == "self-test" {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(r.Text("label"), "way-%d", &n); err != nil {
			t.Fatalf("session with label %q: %v", r.Text("label"), err)
		}
		way := ways6[n/2]
		for name, want := range map[string]bool{"client": way.client6, "relay": way.peer6} {
			addr, err := netip.ParseAddrPort(r.Text(name))
			if err != nil || addr.Addr().Is6() != want {
				t.Errorf("%s: got %s address %s, error %v; want IPv6 %t", way.name, name, r.Text(name), err, want)
			}
		}
	}
}

// Documentation addresses are no peers by default, of either family.
func TestIPv6PeerIsRefused(t *testing.T) {
	w := start6(t, "TURNKEY_ALLOW_PEERS="+peerIP)
	c := w.mint(t, "refused")
	for _, method := range []string{"channels", "indications"} {
		args := []string{"-n", "2", "-x", "-e", peerIP6}
		if method == "indications" {
			args = append(args, "-s")
		}
		got, err := w.uclient(t, c, args...)
		if err == nil || !strings.Contains(err.Error(), "error 403") {
			t.Errorf("%s: got %+v, error %v; want error 403", method, got, err)
		}
	}
}
