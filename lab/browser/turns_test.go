//go:build linux

package browser

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"turnkey/lab/netns"
)

// serverName is what the server's certificate is for.
const serverName = "turn.example.test"

// certificate writes a self-signed pair for the test and returns its settings.
func certificate(t *testing.T) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{serverName}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"TURNKEY_HOST=" + serverName, "TURNKEY_TLS_CERT=" + certFile, "TURNKEY_TLS_KEY=" + keyFile}
}

// resolver answers DNS questions on h: serverName has the server's address,
// and nothing else is there. It returns a resolv.conf that asks it. Browsers
// make turns: connections to names only, and ask no file for them.
func resolver(t *testing.T, h *netns.Host) string {
	t.Helper()
	var conn net.PacketConn
	err := h.Do(func() (err error) {
		conn, err = net.ListenPacket("udp4", "127.0.0.1:53")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if b := answer(buf[:n]); b != nil {
				_, _ = conn.WriteTo(b, from)
			}
		}
	}()
	file := filepath.Join(tempDir(t), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// answer is what the resolver says to a query, nil if that is none.
func answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	switch {
	case q.Name.String() != serverName+".":
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(server).As4()},
		}}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

func TestDataChannelOverTLSRelay(t *testing.T) {
	p, host := start(t, append(certificate(t), "TURNKEY_DRAIN_TIMEOUT=1s")...)
	conf := resolver(t, host)
	for _, pair := range [][]string{{"chromium", "chromium"}, {"firefox", "firefox"}, {"chromium", "firefox"}} {
		for _, port := range []string{"443", "5349"} {
			name := strings.Join(append(pair, port), "-")
			t.Run(name, func(t *testing.T) {
				in := relayInput{URL: url, Browsers: pair, Transport: "tls", Messages: 100, Size: 1000, Label: name,
					Only: "turns:" + serverName + ":" + port + "?transport=tcp", Resolver: conf}
				var got relayResult
				Run(t, host, "relay.mjs", in, &got)
				checkSides(t, in, got)
			})
		}
	}
	p.Stop(t)
	ended := p.Log.Records("session ended")
	if want := 2 * 6; len(ended) < want {
		t.Errorf("got %d sessions, want %d at least", len(ended), want)
	}
	for _, session := range ended {
		if got := session.Text("transport"); got != "tls" {
			t.Errorf("session %s: got transport %q, want tls", session.Text("label"), got)
		}
	}
}
