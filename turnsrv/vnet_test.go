package turnsrv

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"github.com/pion/transport/v4/vnet"
	"github.com/pion/turn/v4"
)

const (
	serverIP = "198.41.0.4"
	peerIP   = "198.41.0.9"
)

func quiet() logging.LoggerFactory {
	return &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}
}

// world is an internet with a server, a peer, and a client behind a symmetric NAT.
type world struct{ server, peer, client *vnet.Net }

func newWorld(t *testing.T) world {
	t.Helper()
	router := func(c vnet.RouterConfig) *vnet.Router {
		c.LoggerFactory = quiet()
		r, err := vnet.NewRouter(&c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	host := func(r *vnet.Router, ip ...string) *vnet.Net {
		n, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: ip})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.AddNet(n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	internet := router(vnet.RouterConfig{CIDR: "0.0.0.0/0"})
	w := world{server: host(internet, serverIP), peer: host(internet, peerIP)}
	home := router(vnet.RouterConfig{
		CIDR: "192.168.1.0/24", StaticIPs: []string{"198.41.0.77"},
		NATType: &vnet.NATType{
			MappingBehavior:   vnet.EndpointAddrPortDependent,
			FilteringBehavior: vnet.EndpointAddrPortDependent,
			MappingLifeTime:   10 * time.Minute,
		},
	})
	w.client = host(home)
	if err := internet.AddRouter(home); err != nil {
		t.Fatal(err)
	}
	if err := internet.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = internet.Stop() })
	return w
}

// TestAnHourBehindASymmetricNAT: a credential is good for half an hour, the call
// lasts an hour and more. It lives on; a new one is refused.
func TestAnHourBehindASymmetricNAT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		listen, err := w.server.ListenPacket("udp4", serverIP+":3478")
		if err != nil {
			t.Fatal(err)
		}
		relays := PortRange{Min: 49160, Max: 49169}
		own := netip.MustParseAddr(serverIP)
		secrets := newSecrets(t, "north-north-north")
		c := Config{
			PacketConns: []net.PacketConn{listen}, Secrets: secrets, RelayPorts: relays, Peers: &Peers{Relays: relays},
			IPv4: &Relays{Advertise: func() netip.Addr { return own }, Listen: func(port uint16) (net.PacketConn, error) {
				return w.server.ListenPacket("udp4", net.JoinHostPort(serverIP, strconv.Itoa(int(port))))
			}},
		}
		c.Peers.SetOwn([]netip.Addr{own})
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()

		username, password, err := secrets.Issue("robot", time.Now().Add(30*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		dial := func() (*turn.Client, net.PacketConn) {
			conn, err := w.client.ListenPacket("udp4", "0.0.0.0:0")
			if err != nil {
				t.Fatal(err)
			}
			c, err := turn.NewClient(&turn.ClientConfig{
				STUNServerAddr: serverIP + ":3478", TURNServerAddr: serverIP + ":3478", Conn: conn, Net: w.client,
				Username: username, Password: password, Realm: DefaultRealm, LoggerFactory: quiet(),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Listen(); err != nil {
				t.Fatal(err)
			}
			return c, conn
		}
		client, conn := dial()
		defer conn.Close()
		defer client.Close()
		relayed, err := client.Allocate()
		if err != nil {
			t.Fatal(err)
		}
		peer, err := w.peer.ListenPacket("udp4", peerIP+":5000")
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		buf := make([]byte, 100)
		time.Sleep(30 * time.Second) // so as not to act at the instant at which a timer of the client fires
		for minute := range 75 {
			if _, err := relayed.WriteTo([]byte("ping"), peer.LocalAddr()); err != nil {
				t.Fatalf("minute %d: %v", minute, err)
			}
			_ = peer.SetReadDeadline(time.Now().Add(time.Second))
			_, from, err := peer.ReadFrom(buf)
			if err != nil || !strings.HasPrefix(from.String(), serverIP+":491") {
				t.Fatalf("minute %d: got %v from %v, want a packet from the relay", minute, err, from)
			}
			if _, err := peer.WriteTo([]byte("pong"), from); err != nil {
				t.Fatal(err)
			}
			_ = relayed.SetReadDeadline(time.Now().Add(time.Second))
			if n, _, err := relayed.ReadFrom(buf); err != nil || string(buf[:n]) != "pong" {
				t.Fatalf("minute %d: got %q %v, want pong", minute, buf[:n], err)
			}
			time.Sleep(time.Minute)
		}
		late, lateConn := dial()
		defer lateConn.Close()
		defer late.Close()
		if _, err := late.Allocate(); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("a new Allocate with the expired credential: got %v, want 401", err)
		}
		if got := s.Sessions(); len(got) != 1 || got[0].PacketsIn != 75 || got[0].PacketsOut != 75 {
			t.Errorf("got %+v, want one session with 75 packets each way", got)
		}
		if err := relayed.Close(); err != nil {
			t.Error(err)
		}
	})
}
