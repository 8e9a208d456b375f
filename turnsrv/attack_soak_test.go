package turnsrv

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// Allocations come and go, over UDP and TCP, some with a channel, some deleted
// by their clients, some left by a connection that closes: when all have gone,
// the server holds what it held before. LONG=1 makes an hour's worth of it.
func TestSoak(t *testing.T) {
	each, rounds := 250, 3
	if os.Getenv("LONG") == "1" {
		each, rounds = 5000, 20
	}
	const atOnce = 500 // of each transport
	f := start(t, func(c *Config) {
		c.RelayPorts = PortRange{Min: 10000, Max: 12999}
		c.Peers.Relays = c.RelayPorts
		c.Limits = &Limits{Permissions: 64, Channels: 64}
	})
	var before holdings
	for round := range rounds + 1 {
		for left := each; left > 0; left -= atOnce {
			f.churn(t, min(left, atOnce))
		}
		f.await(t, 0)
		if round == 0 { // what the first round leaves in pools and maps stays
			before = f.holdings()
		}
	}
	f.recovers(t, before)
	total := uint64(2 * each * (rounds + 1))
	if s := f.Stats(); s.Started != total || s.FreePortsIPv4 != 3000 || s.Ended[EndGone]+s.Ended[EndDeleted] != total {
		t.Errorf("got %+v, want %d sessions, all ended by their clients, and 3000 free ports", s, total)
	}
	t.Logf("%d allocations; before %+v, after %+v", total, before, f.holdings())
}

// churn makes n allocations over each of UDP and TCP, holds them together, and
// ends them.
func (f *fixture) churn(t *testing.T, n int) {
	t.Helper()
	username, password := f.credential(t, time.Hour)
	held := make([]*wire, 2*n)
	many(8, func(worker int) {
		for i := worker; i < len(held); i += 8 {
			network, at := "udp", f.udp
			if i%2 == 1 {
				network, at = "tcp", f.tcp
			}
			conn, err := net.Dial(network, at)
			if err != nil {
				t.Error(err)
				return
			}
			w := &wire{Conn: conn, t: t, realm: DefaultRealm, username: username, password: password}
			held[i] = w.challenge()
			w.allocate()
			if i%3 == 0 {
				if got := code(w.call(stun.MethodChannelBind, channel(0x4000), public)); got != 0 {
					t.Errorf("ChannelBind: got %d", got)
				}
			}
		}
	})
	// Not all at once: what overflows the server's receive buffer is lost, and these clients ask once.
	many(32, func(worker int) {
		for i := worker; i < len(held); i += 32 {
			w := held[i]
			if w == nil {
				continue
			}
			if i%2 == 0 || i%4 == 1 { // a UDP client that does not say so is missed only when its lifetime is over
				if got := code(w.call(stun.MethodRefresh, lifetime(0))); got != 0 {
					t.Errorf("Refresh: got %d", got)
				}
			}
			w.Close()
		}
	})
}
