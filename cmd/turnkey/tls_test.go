package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/dtls/v3"
	"github.com/pion/stun/v3"
	"github.com/pion/turn/v4"
	"github.com/pires/go-proxyproto"
)

const tlsName = "turn.example.test"

// pair is a certificate of a test in files, and who has to trust it.
type pair struct {
	cert, key string
	roots     *x509.CertPool
}

// renew writes a new self-signed certificate.
func (p *pair) renew(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	p.roots = x509.NewCertPool()
	p.roots.AddCert(cert)
	for path, block := range map[string]*pem.Block{p.cert: {Type: "CERTIFICATE", Bytes: der}, p.key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// secured is a server with a certificate, on ports of its own.
type secured struct {
	pair
	environ                    map[string]string
	turn, alt, web, tls, https string // host:port on loopback
	username, password         string
	stderr                     buffer
}

// buffer is a bytes.Buffer that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

func newSecured(t *testing.T) *secured {
	t.Helper()
	ports, err := freePorts(5)
	if err != nil {
		t.Fatal(err)
	}
	s := &secured{}
	for i, at := range []*string{&s.turn, &s.alt, &s.web, &s.tls, &s.https} {
		*at = "127.0.0.1:" + strconv.Itoa(ports[i])
	}
	dir := t.TempDir()
	s.cert, s.key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	s.renew(t, tlsName)
	s.environ = map[string]string{
		"TURNKEY_LISTEN": "127.0.0.1", "TURNKEY_HOST": tlsName, "TURNKEY_HTTP": s.web, "TURNKEY_HTTPS": ":" + strconv.Itoa(ports[4]),
		"TURNKEY_PORT": strconv.Itoa(ports[0]), "TURNKEY_ALT_PORT": strconv.Itoa(ports[1]), "TURNKEY_TLS_PORT": strconv.Itoa(ports[3]),
		"TURNKEY_TLS_CERT": s.cert, "TURNKEY_TLS_KEY": s.key, "TURNKEY_RELAY_PORTS": "20020-20049", "TURNKEY_AUTH": "open",
		"TURNKEY_TRUSTED_PROXIES": "127.0.0.0/8", "TURNKEY_DRAIN_TIMEOUT": "0s",
	}
	return s
}

// serve runs the server until the test ends.
func (s *secured) serve(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"serve"}, s.environ, io.Discard, &s.stderr) }()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("got exit %d, want 0\n%s", code, s.stderr.String())
		}
	})
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		res, err := http.Get("http://" + s.web + "/healthz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("not healthy after 10 s: %v", err)
		}
	}
}

// client is an HTTP client that reaches the server under its name.
func (s *secured) client() *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: s.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.https)
		},
	}}
}

// urls asks for ICE servers over HTTPS and keeps the credential.
func (s *secured) urls(t *testing.T) (urls []string) {
	t.Helper()
	res, err := s.client().Get("https://" + tlsName + "/v1/ice")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var ice struct {
		ICEServers []struct {
			URLs                 []string
			Username, Credential string
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&ice); err != nil || len(ice.ICEServers) == 0 {
		t.Fatalf("got %v, %v, want ICE servers", ice, err)
	}
	for _, server := range ice.ICEServers {
		urls = append(urls, server.URLs...)
		if server.Username != "" {
			s.username, s.password = server.Username, server.Credential
		}
	}
	return urls
}

// packets is a connection that keeps messages apart as a net.PacketConn.
type packets struct{ net.Conn }

func (p packets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.Read(b)
	return n, p.RemoteAddr(), err
}
func (p packets) WriteTo(b []byte, _ net.Addr) (int, error) { return p.Write(b) }

// allocate makes an allocation over conn.
func (s *secured) allocate(t *testing.T, conn net.PacketConn) {
	t.Helper()
	c, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: s.turn, Conn: conn, Username: s.username, Password: s.password,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	relay, err := c.Allocate()
	if err != nil {
		t.Fatalf("allocate: %v", err)
	}
	relay.Close()
}

func TestEveryTransportOnItsPorts(t *testing.T) {
	s := newSecured(t)
	s.serve(t)
	port := func(at string) string { _, p, _ := net.SplitHostPort(at); return p }
	want := []string{
		"stun:" + tlsName + ":" + port(s.turn), "turn:" + tlsName + ":" + port(s.turn) + "?transport=udp",
		"turn:" + tlsName + ":" + port(s.turn) + "?transport=tcp", "turns:" + tlsName + ":" + port(s.https) + "?transport=tcp",
		"turns:" + tlsName + ":" + port(s.tls) + "?transport=tcp",
	}
	if got := s.urls(t); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, tt := range []struct {
		name, at  string
		tls       bool
		protocols []string
	}{
		{"tcp", s.turn, false, nil},
		{"tls on the plain port", s.turn, true, nil},
		{"tls", s.tls, true, nil},
		{"tls, named", s.tls, true, []string{"stun.turn"}},
		{"tls on the port of https", s.https, true, nil},
		{"tls on the port of https, named", s.https, true, []string{"stun.turn"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := net.Dial("tcp4", tt.at)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if tt.tls {
				c = tls.Client(c, &tls.Config{RootCAs: s.roots, ServerName: tlsName, NextProtos: tt.protocols})
			}
			s.allocate(t, turn.NewSTUNConn(c))
		})
	}
	t.Run("udp", func(t *testing.T) {
		for range 8 { // over the sockets that share the port
			c, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s.allocate(t, c)
			c.Close()
		}
	})
	t.Run("dtls", func(t *testing.T) {
		at, _ := net.ResolveUDPAddr("udp4", s.tls)
		socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c, err := dtls.ClientWithOptions(socket, at, dtls.WithRootCAs(s.roots), dtls.WithServerName(tlsName))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s.allocate(t, packets{c})
	})
	t.Run("wss", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		c, _, err := websocket.Dial(ctx, "wss://"+tlsName+"/v1/ws", &websocket.DialOptions{HTTPClient: s.client()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if err := c.Write(ctx, websocket.MessageText, []byte(`{"type":"join","id":1,"room":"r"}`)); err != nil {
			t.Fatal(err)
		}
		if _, b, err := c.Read(ctx); err != nil || !strings.Contains(string(b), `"welcome"`) || !strings.Contains(string(b), "turns:"+tlsName) {
			t.Errorf("got %s, %v, want a welcome with turns: URLs", b, err)
		}
	})
	t.Run("client of a proxy", func(t *testing.T) {
		for _, at := range []string{s.turn, s.tls, s.https} {
			for version := byte(1); version <= 2; version++ {
				client := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), 4000+uint16(version))
				if got := s.mapped(t, at, at != s.turn, version, client); got != client {
					t.Errorf("%s, version %d: got %s, want the client that the proxy names", at, version, got)
				}
			}
		}
	})
}

// mapped asks for the address that the server sees behind a proxy.
func (s *secured) mapped(t *testing.T, at string, secure bool, version byte, client netip.AddrPort) netip.AddrPort {
	t.Helper()
	c, err := net.Dial("tcp4", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	h := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(client), c.RemoteAddr())
	if _, err := h.WriteTo(c); err != nil {
		t.Fatal(err)
	}
	if secure {
		c = tls.Client(c, &tls.Config{RootCAs: s.roots, ServerName: tlsName})
	}
	request := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	if _, err := c.Write(request.Raw); err != nil {
		t.Fatal(err)
	}
	response := stun.Message{Raw: make([]byte, 0, 1024)}
	var mapped stun.XORMappedAddress
	if _, err := response.ReadFrom(c); err != nil {
		t.Fatal(err)
	}
	if err := mapped.GetFrom(&response); err != nil {
		t.Fatal(err)
	}
	addr, _ := netip.AddrFromSlice(mapped.IP)
	return netip.AddrPortFrom(addr.Unmap(), uint16(mapped.Port))
}

func TestRenewedCertificateIsServedWithoutARestart(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	s.serve(t)
	old := s.roots
	s.renew(t, tlsName)
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		res, err := s.client().Get("https://" + tlsName + "/healthz")
		if err == nil {
			res.Body.Close()
			break
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("the new certificate is not served after 30 s: %v", err)
		}
	}
	for _, at := range []string{s.tls, s.turn} {
		c, err := tls.Dial("tcp4", at, &tls.Config{RootCAs: s.roots, ServerName: tlsName})
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		c.Close()
		if c, err := tls.Dial("tcp4", at, &tls.Config{RootCAs: old, ServerName: tlsName}); err == nil {
			c.Close()
			t.Errorf("%s: got the old certificate", at)
		}
	}
}

func TestTLSThatCannotBeServed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, s *secured)
		want   []string
	}{
		{"port of https taken", func(t *testing.T, s *secured) {
			l, err := net.Listen("tcp4", s.https)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			s.environ["TURNKEY_HTTPS"] = s.https
		}, []string{"address already in use", "TURNKEY_HTTPS", "off"}},
		{"port of tls taken", func(t *testing.T, s *secured) {
			l, err := net.Listen("tcp4", s.tls)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, []string{"address already in use", "TURNKEY_TLS_PORT"}},
		{"port of dtls taken", func(t *testing.T, s *secured) {
			c, err := net.ListenPacket("udp4", s.tls)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		}, []string{"listen udp", "address already in use", "TURNKEY_TLS_PORT"}},
		{"key of another", func(t *testing.T, s *secured) {
			other := newSecured(t)
			s.environ["TURNKEY_TLS_KEY"] = other.key
		}, []string{"private key does not match", "TURNKEY_TLS_CERT"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSecured(t)
			tt.change(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			code := run(ctx, []string{"serve"}, s.environ, io.Discard, &s.stderr)
			if code != exitFailure {
				t.Errorf("got exit %d, want %d", code, exitFailure)
			}
			for _, want := range tt.want {
				if !strings.Contains(s.stderr.String(), want) {
					t.Errorf("got %q, want %q in it", s.stderr.String(), want)
				}
			}
		})
	}
}

func TestCertificateForAnotherNameIsWarnedOf(t *testing.T) {
	for host, want := range map[string]string{
		tlsName:          "",
		"a.example.test": "clients will refuse the certificate",
		"192.0.2.1":      "no turns: URL is handed out",
	} {
		s := newSecured(t)
		s.environ["TURNKEY_HOST"] = host
		s.serve(t)
		got := s.stderr.String()
		if warned := strings.Contains(got, "level=WARN msg=\"clients will refuse") || strings.Contains(got, "no turns:"); !strings.Contains(got, want) || warned != (want != "") {
			t.Errorf("%s: got %s, want %q", host, got, want)
		}
		if urls := fmt.Sprint(s.urls(t)); strings.Contains(urls, "turns:") != (host != "192.0.2.1") {
			t.Errorf("%s: got %s", host, urls)
		}
	}
}
