//go:build linux

// Package attack attacks the program as strangers on the internet could, while
// a well-behaved client relays through it.
package attack

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

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
	w.peer = echo(t, peer, peerIP+":3480")
	w.Program = program.Start(t, program.Config{Host: w.server, Env: append(append(certificate(t),
		"TURNKEY_PUBLIC_IP="+serverIP, "TURNKEY_SECRET="+secret, "TURNKEY_ALLOW_PEERS="+peerIP,
		"TURNKEY_LOG_LEVEL=info", "TURNKEY_DRAIN_TIMEOUT=1s"), env...)})
	return w
}

// certificate writes a self-signed pair and returns its settings.
func certificate(t *testing.T) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"turn.example.test"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"TURNKEY_HOST=turn.example.test", "TURNKEY_TLS_CERT=" + certFile, "TURNKEY_TLS_KEY=" + keyFile}
}

// listen opens a UDP socket on a host.
func listen(t *testing.T, h *netns.Host, address string) net.PacketConn {
	t.Helper()
	var conn net.PacketConn
	if err := h.Do(func() (err error) {
		conn, err = net.ListenPacket("udp4", address)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func echo(t *testing.T, h *netns.Host, address string) net.Addr {
	t.Helper()
	conn := listen(t, h, address)
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}()
	return conn.LocalAddr()
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
