//go:build linux

package program

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/turn/v4"
	"turnkey/lab/netns"
)

func TestMain(m *testing.M) { Main(m) }

const (
	address = "203.0.113.10"
	secret  = "a-secret-of-the-program-lab"
)

// host returns a host with one address and nothing around it.
func host(t *testing.T) *netns.Host {
	t.Helper()
	n := netns.New(t)
	h := n.Host("server")
	h.Join(n.Switch("lan"), "eth0", address+"/24")
	return h
}

func TestHealthyWithin200ms(t *testing.T) {
	const limit, starts = 200 * time.Millisecond, 5
	h := host(t)
	var took []time.Duration
	for range starts {
		p := Start(t, Config{Host: h})
		took = append(took, p.Started.Round(100*time.Microsecond))
		p.Stop(t)
	}
	slices.Sort(took)
	t.Logf("from exec to the first 200 of /healthz: %v", took)
	// The quickest start is the program's own; others may have waited for a
	// busy machine.
	if took[0] > limit {
		t.Errorf("quickest of %d starts took %s, want at most %s", starts, took[0], limit)
	}
}

// allocate returns a stream to the server with a live allocation on it.
func allocate(t *testing.T, h *netns.Host) net.Conn {
	t.Helper()
	conn := dial(t, h, address+":3478")
	user, password, err := turn.GenerateLongTermTURNRESTCredentials(secret, "life", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: address + ":3478", TURNServerAddr: address + ":3478",
		Conn: turn.NewSTUNConn(conn), Username: user, Password: password,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Allocate(); err != nil {
		t.Fatal(err)
	}
	return conn
}

func dial(t *testing.T, h *netns.Host, address string) net.Conn {
	t.Helper()
	conn, err := h.Dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestSIGTERMEndsLiveConnections(t *testing.T) {
	h := host(t)
	p := Start(t, Config{Host: h, Env: []string{
		"TURNKEY_PUBLIC_IP=" + address, "TURNKEY_SECRET=" + secret, "TURNKEY_DRAIN_TIMEOUT=1s"}})
	silent := map[string]net.Conn{
		"TURN": dial(t, h, address+":3478"),
		"HTTP": dial(t, h, address+":8080"),
	}
	allocate(t, h)
	if took := p.Stop(t); took > 3*time.Second {
		t.Errorf("the end took %s, want about the drain timeout of 1s", took)
	}
	for name, conn := range silent {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read from a silent %s connection: got %v, want its end", name, err)
		}
	}
	if got := len(p.Log.Records("session ended")); got != 1 {
		t.Errorf("got %d lines about the end of a session, want 1", got)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	h := host(t)
	p := Start(t, Config{Host: h, Env: []string{
		"TURNKEY_PUBLIC_IP=" + address, "TURNKEY_SECRET=" + secret, "TURNKEY_DRAIN_TIMEOUT=1m"}})
	allocate(t, h)
	p.Signal(t, syscall.SIGTERM)
	if code, err := p.Wait(500 * time.Millisecond); err == nil {
		t.Fatalf("the first signal ended it with exit status %d though a session was live", code)
	}
	p.Signal(t, syscall.SIGTERM)
	if _, err := p.Wait(time.Second); err != nil {
		t.Errorf("after the second signal: %v", err)
	}
}

func TestPortInUseNamesItsSetting(t *testing.T) {
	tests := []struct{ network, at, setting string }{
		{"udp", address + ":3478", "TURNKEY_PORT"},
		{"tcp", address + ":3478", "TURNKEY_PORT"},
		{"udp", address + ":3479", "TURNKEY_ALT_PORT"},
		{"tcp", ":8080", "TURNKEY_HTTP"},
	}
	for _, tt := range tests {
		t.Run(tt.network+" "+tt.at, func(t *testing.T) {
			h := host(t)
			occupy(t, h, tt.network, tt.at)
			p := Launch(t, Config{Host: h})
			code, err := p.Wait(5 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			said := strings.Join(p.Log.All(), "\n")
			if code != 1 || !strings.Contains(said, tt.setting) || !strings.Contains(said, tt.at[strings.LastIndex(tt.at, ":"):]) {
				t.Errorf("got exit status %d and %q, want 1 and a message with %s and the port", code, said, tt.setting)
			}
		})
	}
}

// occupy takes a port of h.
func occupy(t *testing.T, h *netns.Host, network, at string) {
	t.Helper()
	var c io.Closer
	err := h.Do(func() (err error) {
		if network == "udp" {
			c, err = net.ListenPacket(network, at)
		} else {
			c, err = net.Listen(network, at)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
}
