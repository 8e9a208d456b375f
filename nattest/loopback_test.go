package nattest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/turn/v4"
)

// onLoopback serves HTTP, TURN over UDP, TCP and TLS, and a second STUN port,
// on real sockets, and returns a Config for them.
func onLoopback(t *testing.T) Config {
	t.Helper()
	gen := func() turn.RelayAddressGenerator {
		return &turn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"}
	}
	udp := must(net.ListenPacket("udp4", "127.0.0.1:0"))
	tcp := must(net.Listen("tcp4", "127.0.0.1:0"))
	mux := http.NewServeMux()
	web := httptest.NewTLSServer(mux)
	t.Cleanup(web.Close)
	raw := must(net.Listen("tcp4", "127.0.0.1:0"))
	sec := tls.NewListener(raw, &tls.Config{Certificates: web.TLS.Certificates})
	datagrams := must(dtls.ListenWithOptions("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, dtls.WithCertificates(web.TLS.Certificates...)))
	s := must(turn.NewServer(turn.ServerConfig{
		Realm: "test",
		AuthHandler: func(user, realm string, _ net.Addr) ([]byte, bool) {
			return turn.GenerateAuthKey(user, realm, "secret"), true
		},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: udp, RelayAddressGenerator: gen()}},
		ListenerConfigs: []turn.ListenerConfig{
			{Listener: tcp, RelayAddressGenerator: gen()}, {Listener: sec, RelayAddressGenerator: gen()},
			{Listener: datagrams, RelayAddressGenerator: gen()},
		},
	}))
	t.Cleanup(func() { s.Close() })
	alt := must(net.ListenPacket("udp4", "127.0.0.1:0"))
	t.Cleanup(func() { alt.Close() })
	go new(lab).stun(alt)
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v1/ws", signaling)
	mux.HandleFunc("GET /nattest.json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"schema":1,"stun":["127.0.0.1:%d","127.0.0.1:%d"]}`, port(udp.LocalAddr()), port(alt.LocalAddr()))
	})
	mux.HandleFunc("GET /v1/ice", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"iceServers": []any{map[string]any{
			"username": fmt.Sprint(time.Now().Add(time.Hour).Unix(), ":me"), "credential": "secret",
			"urls": []string{
				fmt.Sprintf("turn:127.0.0.1:%d?transport=udp", port(udp.LocalAddr())),
				fmt.Sprintf("turn:127.0.0.1:%d?transport=tcp", port(tcp.Addr())),
				fmt.Sprintf("turns:127.0.0.1:%d?transport=tcp", port(sec.Addr())),
				fmt.Sprintf("turns:127.0.0.1:%d?transport=udp", port(datagrams.Addr())),
			},
		}}})
	})
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	var lc net.ListenConfig
	var d net.Dialer
	return Config{Host: web.URL, TLS: &tls.Config{RootCAs: roots}, ListenPacket: lc.ListenPacket, DialContext: d.DialContext}
}

func port(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }

func TestOnRealSockets(t *testing.T) {
	c := onLoopback(t)
	before := runtime.NumGoroutine()
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.V4.NAT != "no" || r.Verdict.Relay != unlikely || !strings.Contains(r.Verdict.Scope, "same network") {
		t.Errorf("got NAT %s, %+v; want none, unlikely, in the same network", r.V4.NAT, r.Verdict)
	}
	for _, u := range r.TURN.URLs {
		if u.State != "ok" || u.Loops.RelayToRelay.State != "ok" || u.Loops.SocketToRelay.State != "not_tested" {
			t.Errorf("%s: got %+v, want it ok, and nothing said of the way from outside", u.URL, u)
		}
	}
	c.Quick = true
	check, err := Check(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	judgeCheck(t, check, nil, []string{"relay_ports"})
	var got []string
	for _, it := range check.Checks {
		if got = append(got, it.Name); it.TURN != nil && it.TURN.Measured != nil {
			t.Errorf("%s: got %+v measured, want nothing of a quick check", it.Target, it.TURN.Measured)
		}
	}
	if want := "http ice certificate certificate websocket credential clock stun stun turn turn turn turn relay_ports"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	waitForGoroutines(t, before)
}

func TestTLSNamesTheCertificate(t *testing.T) {
	c := onLoopback(t)
	c.HTTP = &http.Client{Transport: &http.Transport{TLSClientConfig: c.TLS.Clone(), DisableKeepAlives: true}}
	c.TLS = nil // the system's roots do not know the test's certificate
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if u := r.TURN.URLs[2]; u.State != "failed" || u.Failed != "tls" || !strings.Contains(u.Hint, "certificate valid for 127.0.0.1") {
		t.Errorf("got %+v, want tls to fail for the certificate", u)
	}
}

// waitForGoroutines waits until the test's connections have been let go of by
// the servers, too.
func waitForGoroutines(t *testing.T, want int) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > want {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("got %d goroutines, want %d:\n%s", runtime.NumGoroutine(), want, buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}
