package turnsrv

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// paced sends what make returns n times, never more at once than the socket of
// the server holds: an answered request follows each few.
func (w *wire) paced(n int, make func(i int) []byte) {
	for i := range n {
		w.send(make(i))
		if i%32 == 31 {
			w.ask(stun.MethodAllocate)
		}
	}
}

// attacker returns a client that is a user of its own.
func (f *fixture) attacker(t *testing.T, network, name string) *wire {
	t.Helper()
	w := f.wire(t, network).challenge()
	w.username, w.password, _ = f.secrets.Issue(name, time.Now().Add(time.Hour))
	return w
}

func TestDatagramFloods(t *testing.T) {
	f := start(t, allowLoopback)
	for name, attack := range map[string]func(t *testing.T){
		"garbage": func(t *testing.T) {
			w := f.wire(t, "udp")
			defer w.Close()
			w.paced(10000, func(i int) []byte {
				b := make([]byte, i%1500)
				_, _ = rand.Read(b)
				if len(b) > stunHeader && i%2 == 0 { // up to the attributes all is well
					binary.BigEndian.PutUint16(b, stun.NewType(methods[i/2%4], stun.ClassRequest).Value())
					binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader))
					binary.BigEndian.PutUint32(b[4:], magicCookie)
				}
				return b
			})
		},
		"requests without credentials": func(t *testing.T) {
			many(8, func(int) {
				w := f.wire(t, "udp")
				defer w.Close()
				for range 1000 {
					w.ask(stun.MethodAllocate, udpTransport)
				}
			})
		},
		"guessed passwords": func(t *testing.T) {
			w := f.wire(t, "udp").challenge()
			defer w.Close()
			for i := range 3000 {
				w.password = fmt.Sprint(i)
				if got := code(w.call(methods[i%4], udpTransport)); got != 401 {
					t.Fatalf("got %d, want 401", got)
				}
			}
		},
		"permissions": func(t *testing.T) {
			w := f.attacker(t, "udp", "permissions")
			defer w.Close()
			w.allocate()
			granted := 0
			for i := range 3000 {
				if code(w.call(stun.MethodCreatePermission, peerAttr(fmt.Sprintf("8.8.%d.%d:1", i/250, i%250)))) == 0 {
					granted++
				}
			}
			if granted != 64 {
				t.Errorf("got %d permissions, want 64", granted)
			}
			w.call(stun.MethodRefresh, lifetime(0))
		},
		"channels": func(t *testing.T) {
			w := f.attacker(t, "udp", "channels")
			defer w.Close()
			w.allocate()
			granted := 0
			for i := range 3000 {
				if code(w.call(stun.MethodChannelBind, channel(0x4000+uint16(i)), peerAttr(fmt.Sprintf("8.8.8.8:%d", i+1)))) == 0 {
					granted++
				}
			}
			if granted != 64 {
				t.Errorf("got %d channels, want 64", granted)
			}
			w.call(stun.MethodRefresh, lifetime(0))
		},
		"allocations by many connections": func(t *testing.T) {
			var held []*wire
			for i := range 100 {
				w := f.attacker(t, "udp", "hoarder")
				want := stun.ErrorCode(0)
				if i >= 64 {
					want = 486
				}
				if got := code(w.call(stun.MethodAllocate, udpTransport)); got != want {
					t.Errorf("allocation %d: got %d, want %d", i+1, got, want)
				}
				held = append(held, w)
			}
			for _, w := range held {
				w.call(stun.MethodRefresh, lifetime(0))
				w.Close()
			}
		},
		"allocations made and dropped": func(t *testing.T) {
			for range 300 {
				w := f.attacker(t, "tcp", "restless")
				w.allocate()
				w.Close()
			}
		},
		"data to nobody": func(t *testing.T) {
			w := f.attacker(t, "udp", "shouter")
			defer w.Close()
			w.allocate()
			indication := w.build(stun.NewType(stun.MethodSend, stun.ClassIndication), peerAttr("10.0.0.1:80"), value(stun.AttrData, make([]byte, 1000)...)).Raw
			w.paced(5000, func(i int) []byte {
				if i%2 == 0 {
					return indication
				}
				return append([]byte{0x41, byte(i), 0x03, 0xE8}, make([]byte, 1000)...)
			})
			w.call(stun.MethodRefresh, lifetime(0))
		},
	} {
		t.Run(name, func(t *testing.T) { f.attacked(t, func() { attack(t) }) })
	}
}

// A flood of requests from forged addresses: nobody is answered more often than
// the limit of responses has it, and nothing is kept of who asked.
func TestForgedSourcesCostNothing(t *testing.T) {
	answered := make(map[netip.Addr]int)
	m := inMemory(t, func(c *Config) {
		c.Unauthenticated = func(a netip.Addr) bool { answered[a]++; return answered[a] <= 2 || a == sentinelAddr.Addr() }
	})
	before := m.holdings()
	request := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), udpTransport).Raw
	got := 0
	for i := range 20000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 16)}), uint16(1024+i%60000))
		got += len(m.exchange(request, from))
	}
	if want := 2 * 16; got != want {
		t.Errorf("got %d answers to 16 addresses, want %d", got, want)
	}
	if n := m.Stats().Unanswered; n != 20000-32 {
		t.Errorf("got %d requests counted that were not answered, want %d", n, 20000-32)
	}
	m.recovers(t, before)
}
