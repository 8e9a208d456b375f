package turnsrv

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v3"
	"github.com/pion/turn/v4"
	"turnkey/turnsrv/cred"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// fixture is a server on loopback with one UDP socket and one TCP listener.
type fixture struct {
	*Server
	secrets  *cred.Secrets
	udp, tcp string
}

func newSecrets(t testing.TB, secrets ...string) *cred.Secrets {
	t.Helper()
	s, err := cred.NewSecrets(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{secrets: newSecrets(t, "north-north-north"), udp: udp.LocalAddr().String(), tcp: tcp.Addr().String()}
	relays := PortRange{Min: 30160, Max: 30559}
	c := Config{
		PacketConns: []net.PacketConn{udp},
		Listeners:   []Listener{{tcp, "tcp"}},
		Secrets:     f.secrets,
		RelayPorts:  relays,
		Peers:       &Peers{Relays: relays},
		IPv4: &Relays{Advertise: func() netip.Addr { return loopback }, Listen: func(port uint16) (net.PacketConn, error) {
			return net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
		}},
	}
	c.Peers.SetOwn([]netip.Addr{loopback})
	if change != nil {
		change(&c)
	}
	if f.Server, err = New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Server.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return f
}

// client connects a pion client over udp or tcp.
func (f *fixture) client(t testing.TB, network, username, password string) *turn.Client {
	t.Helper()
	var conn net.PacketConn
	var err error
	server := f.udp
	if network == "udp" {
		conn, err = net.ListenPacket("udp4", "127.0.0.1:0")
	} else {
		var c net.Conn
		server = f.tcp
		if c, err = net.Dial("tcp4", server); err == nil {
			conn = turn.NewSTUNConn(c)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: server, TURNServerAddr: server, Conn: conn, Username: username, Password: password, Realm: DefaultRealm,
		LoggerFactory: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); conn.Close() })
	return c
}

func (f *fixture) credential(t testing.TB, ttl time.Duration) (username, password string) {
	t.Helper()
	username, password, err := f.secrets.Issue("tester", time.Now().Add(ttl))
	if err != nil {
		t.Fatal(err)
	}
	return username, password
}

// echo is a peer that returns what it gets.
func echo(t testing.TB) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := conn.ReadFromUDP(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDP(buf[:n], from)
		}
	}()
	return conn
}

func allowLoopback(c *Config) {
	c.Peers.Allow = []PeerRule{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}
}

func TestRelayOverUDPAndTCP(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			var lines strings.Builder
			f := start(t, func(c *Config) {
				allowLoopback(c)
				c.Log = slog.New(slog.NewTextHandler(&lines, nil))
			})
			peer := echo(t)
			username, password := f.credential(t, time.Hour)
			c := f.client(t, network, username, password)
			relayed, err := c.Allocate()
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 2000)
			total := 0
			sizes := []int{100, 1, 2, 3, 4, 5, 1200, 1, 1400}
			if network == "tcp" {
				sizes = []int{100, 5, 1200, 1400} // pion's client holds back ChannelData of up to 4 bytes
			}
			for _, size := range sizes {
				payload := []byte(strings.Repeat("x", size))
				if _, err := relayed.WriteTo(payload, peer.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				_ = relayed.SetReadDeadline(time.Now().Add(5 * time.Second))
				n, from, err := relayed.ReadFrom(buf)
				if err != nil || n != size || from.String() != peer.LocalAddr().String() {
					t.Fatalf("%d bytes: got %d from %v, %v", size, n, from, err)
				}
				total += size
			}
			sessions := f.Sessions()
			if len(sessions) != 1 {
				t.Fatalf("got %d sessions, want 1", len(sessions))
			}
			s := sessions[0]
			if s.BytesIn != uint64(total) || s.BytesOut != uint64(total) || s.Transport != network || s.Username != username || s.Label != "tester" {
				t.Errorf("session: got %+v, want %d bytes each way over %s by tester", s, total, network)
			}
			if err := relayed.Close(); err != nil {
				t.Fatal(err)
			}
			if err := f.sessions.wait(deadline(t)); err != nil {
				t.Fatal(err)
			}
			if got := lines.String(); !strings.Contains(got, `reason="deleted by client"`) || strings.Count(got, "\n") != 1 {
				t.Errorf("log: got %q, want one line with the reason", got)
			}
		})
	}
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestWhoIsRefused(t *testing.T) {
	f := start(t, nil)
	username, password := f.credential(t, time.Hour)
	expiredUser, expiredPassword := f.credential(t, -time.Second)
	for name, tt := range map[string]struct{ username, password string }{
		"wrong password": {username, "wrong"},
		"expired":        {expiredUser, expiredPassword},
		"no such user":   {"root", password},
		"long user":      {"1999999999:" + strings.Repeat("x", 400), password},
	} {
		for _, network := range []string{"udp", "tcp"} {
			c := f.client(t, network, tt.username, tt.password)
			relayed, err := c.Allocate()
			if err == nil {
				relayed.Close()
				t.Errorf("%s over %s: allocated", name, network)
			} else if !strings.Contains(err.Error(), "401") {
				t.Errorf("%s over %s: got %v, want 401", name, network, err)
			}
		}
	}
	if n := len(f.Sessions()); n != 0 {
		t.Errorf("got %d sessions, want none", n)
	}
}

func TestSecondSecretVerifies(t *testing.T) {
	f := start(t, func(c *Config) { c.Secrets = newSecrets(t, "new-new-new-new", "north-north-north") })
	username, password := f.credential(t, time.Hour) // signed with the older one
	if _, err := f.client(t, "udp", username, password).Allocate(); err != nil {
		t.Error(err)
	}
}

func TestDeniedPeerIs403(t *testing.T) {
	f := start(t, nil)
	username, password := f.credential(t, time.Hour)
	c := f.client(t, "udp", username, password)
	if _, err := c.Allocate(); err != nil {
		t.Fatal(err)
	}
	for _, peer := range []string{"10.0.0.1:80", "127.0.0.1:22", "169.254.169.254:80"} {
		err := c.CreatePermission(net.UDPAddrFromAddrPort(netip.MustParseAddrPort(peer)))
		var turnErr *stun.TurnError
		if !errors.As(err, &turnErr) || turnErr.ErrorCodeAttr.Code != stun.CodeForbidden {
			t.Errorf("%s: got %v, want 403", peer, err)
		}
	}
	if err := c.CreatePermission(net.UDPAddrFromAddrPort(netip.MustParseAddrPort("8.8.8.8:53"))); err != nil {
		t.Errorf("a public peer: %v", err)
	}
}

// Two clients of one server reach each other through two relays.
func TestRelayToRelay(t *testing.T) {
	f := start(t, nil)
	username, password := f.credential(t, time.Hour)
	a, err := f.client(t, "udp", username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.client(t, "tcp", username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.WriteTo([]byte("open"), a.LocalAddr()); err != nil { // installs the permission
		t.Fatal(err)
	}
	if _, err := a.WriteTo([]byte("hello"), b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	_ = b.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := b.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "hello" {
		t.Errorf("got %q %v, want hello", buf[:n], err)
	}
}

// A permission is for an address; the port is checked where a packet leaves.
func TestServicesOnTheServerAreOutOfReach(t *testing.T) {
	f := start(t, nil)
	username, password := f.credential(t, time.Hour)
	c := f.client(t, "udp", username, password)
	relayed, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := relayed.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 30160}); err != nil {
		t.Fatal(err) // installs the permission for 127.0.0.1
	}
	service := echo(t)
	if _, err := relayed.WriteTo([]byte("secrets, please"), service.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	// A permission for another peer is answered after the packet was handled.
	if err := c.CreatePermission(&net.UDPAddr{IP: net.IPv4(8, 8, 8, 8)}); err != nil {
		t.Fatal(err)
	}
	if got := f.sessions.all()[0].relay.denied.Load(); got != 1 {
		t.Errorf("got %d packets held back, want 1", got)
	}
	if got := f.Sessions()[0].PacketsOut; got > 1 {
		t.Errorf("got %d packets sent, want only the one to a relay port", got)
	}
}

func TestEveryPortCanBeUsed(t *testing.T) {
	const n = 20
	var lines strings.Builder
	f := start(t, func(c *Config) {
		c.RelayPorts = PortRange{Min: 30160, Max: 30160 + n - 1}
		c.Log = slog.New(slog.NewTextHandler(&lines, nil))
	})
	username, password := f.credential(t, time.Hour)
	for i := range n {
		if _, err := f.client(t, "udp", username, password).Allocate(); err != nil {
			t.Fatalf("allocation %d of %d: %v", i+1, n, err)
		}
	}
	if _, err := f.client(t, "udp", username, password).Allocate(); err == nil || !strings.Contains(err.Error(), "508") {
		t.Errorf("one more: got %v, want 508", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(lines.String(), "no relay port is free; widen TURNKEY_RELAY_PORTS"); got != 1 {
		t.Errorf("got %d lines about it, want 1, in %q", got, lines.String())
	}
}

func TestClosedConnectionEndsItsAllocation(t *testing.T) {
	f := start(t, nil)
	username, password := f.credential(t, time.Hour)
	c := f.client(t, "tcp", username, password)
	if _, err := c.Allocate(); err != nil {
		t.Fatal(err)
	}
	f.streams[0].mu.Lock()
	for _, conn := range f.streams[0].conns {
		conn.Conn.Close() // as if the client had gone
	}
	f.streams[0].mu.Unlock()
	if err := f.sessions.wait(deadline(t)); err != nil {
		t.Error(err)
	}
	if got := f.ipv4.ports.count(); got != 400 {
		t.Errorf("got %d free ports, want 400", got)
	}
}

// pion publishes a permission before it starts its timer, and stops the timers
// of all when it deletes an allocation: the two must not meet.
func TestConnectionsThatCloseWhilePermissionsAreAdded(t *testing.T) {
	f := start(t, nil)
	username, password := f.credential(t, time.Hour)
	peers := make([]net.Addr, 50)
	for i := range peers {
		peers[i] = &net.UDPAddr{IP: net.IPv4(8, 8, 4, byte(i)), Port: 1}
	}
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		conn, err := net.Dial("tcp4", f.tcp)
		if err != nil {
			t.Fatal(err)
		}
		c, err := turn.NewClient(&turn.ClientConfig{
			TURNServerAddr: f.tcp, Conn: turn.NewSTUNConn(conn), Username: username, Password: password, Realm: DefaultRealm,
			LoggerFactory: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Listen(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Allocate(); err != nil {
			t.Fatal(err)
		}
		go c.CreatePermission(peers...)
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond) // anywhere within the request
		conn.Close()
		c.Close()
	}
	if err := f.sessions.wait(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestShutdownWaitsAndRefuses(t *testing.T) {
	f := start(t, nil)
	username, password := f.credential(t, time.Hour)
	relayed, err := f.client(t, "udp", username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	late := f.client(t, "udp", username, password)
	down := make(chan error)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	go func() { down <- f.Shutdown(ctx) }()
	for !f.draining.Load() {
		runtime.Gosched()
	}
	if _, err := late.Allocate(); err == nil || !strings.Contains(err.Error(), "508") {
		t.Errorf("Allocate while draining: got %v, want 508", err)
	}
	select {
	case err := <-down:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}
	if err := relayed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	f := start(t, nil)
	username, password := f.credential(t, time.Hour)
	for _, network := range []string{"udp", "tcp"} {
		c := f.client(t, network, username, password)
		if _, err := c.Allocate(); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	idle, err := net.Dial("tcp4", f.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_ = idle.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := idle.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an accepted connection lives on: %v", err)
	}
	if n := len(f.Sessions()); n != 0 {
		t.Errorf("got %d sessions, want none", n)
	}
}
