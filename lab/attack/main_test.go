//go:build linux

// Package attack attacks the program as strangers on the internet could, while
// a well-behaved client relays through it.
package attack

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"turnkey/lab/netns"
	"turnkey/lab/program"
)

func TestMain(m *testing.M) { program.Main(m) }

// Addresses of the lab.
const (
	serverIP   = "203.0.113.10"
	serverIP2  = "203.0.113.11" // of the same machine; no alternate unless a test says so
	clientIP   = "203.0.113.20"
	peerIP     = "203.0.113.30"
	attackerIP = "203.0.113.66"
	serverName = "turn.example.test"
	secret     = "a-secret-of-the-attack-lab"
)

// world is a server with its defaults and a certificate, a client, a peer that
// answers every datagram with the same, and an attacker, to whom the server
// sends what goes to addresses that it does not know.
type world struct {
	*program.Program
	server, client, attacker *netns.Host
	peer                     net.Addr
}

func start(t *testing.T, env ...string) world {
	t.Helper()
	n := netns.New(t)
	wan := n.Switch("wan")
	w := world{server: n.Host("server"), client: n.Host("client"), attacker: n.Host("attacker")}
	peer := n.Host("peer")
	for h, ip := range map[*netns.Host]string{w.server: serverIP, w.client: clientIP, peer: peerIP, w.attacker: attackerIP} {
		h.Join(wan, "eth0", ip+"/24")
	}
	w.server.Addr("eth0", serverIP2+"/24")
	w.server.Route("default", "via", attackerIP)
	for _, dev := range []string{"all", "eth0"} {
		w.server.Sysctl("net.ipv4.conf."+dev+".rp_filter", "0")
	}
	w.peer = peer.Echo(peerIP + ":3480")
	w.Program = program.Start(t, program.Config{Host: w.server, Env: append(append(program.Certificate(t, serverName),
		"TURNKEY_HOST="+serverName, "TURNKEY_PUBLIC_IP="+serverIP, "TURNKEY_SECRET="+secret, "TURNKEY_ALLOW_PEERS="+peerIP,
		"TURNKEY_LOG_LEVEL=info", "TURNKEY_DRAIN_TIMEOUT=1s"), env...)})
	return w
}

// metric asks the program for one of its metrics.
func (w world) metric(t *testing.T, name string) float64 {
	t.Helper()
	response, err := w.Client().Get("http://127.0.0.1:8080/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET /metrics: got %s", response.Status)
	}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), name+" "); found {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("GET /metrics: no %s", name)
	return 0
}
