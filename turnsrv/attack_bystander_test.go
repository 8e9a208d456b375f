package turnsrv

import (
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// What an attack may cost the others, and the server when it is over.
const (
	slowestTrip = 250 * time.Millisecond * detector // 99 of 100 round trips are quicker
	heapGrowth  = 8 << 20                           // bytes
)

// bystander is a client that does nothing but relay to a peer and back.
type bystander struct {
	*wire
	trips uint64
	lost  int
}

func (f *fixture) bystander(t *testing.T) *bystander {
	t.Helper()
	b := &bystander{wire: f.wire(t, "udp").challenge()}
	b.username, b.password, _ = f.secrets.Issue("bystander", time.Now().Add(time.Hour))
	b.allocate()
	peer := peerAttr(echo(t).LocalAddr().String())
	if got := code(b.call(stun.MethodChannelBind, channel(0x4000), peer)); got != 0 {
		t.Fatalf("ChannelBind: got %d", got)
	}
	return b
}

// trip sends a message to the peer and waits for it to come back.
func (b *bystander) trip() time.Duration {
	b.t.Helper()
	b.trips++
	begin := time.Now()
	b.send(binary.BigEndian.AppendUint64([]byte{0x40, 0, 0, 8}, b.trips))
	for {
		got, err := b.frame(time.Second)
		switch {
		case err != nil:
			b.lost++
			return time.Since(begin)
		case len(got) == 12 && binary.BigEndian.Uint64(got[4:]) == b.trips:
			return time.Since(begin)
		}
	}
}

// until makes round trips until done is closed, and at least n.
func (b *bystander) until(done <-chan struct{}, n int) (p50, p99 time.Duration) {
	b.t.Helper()
	var took []time.Duration
	for pause := time.NewTicker(time.Millisecond); ; <-pause.C {
		took = append(took, b.trip())
		select {
		case <-done:
			if len(took) >= n {
				pause.Stop()
				slices.Sort(took)
				return took[len(took)/2], took[len(took)*99/100]
			}
		default:
		}
	}
}

// attacked measures the round trips of a well-behaved client while the server
// is attacked, and checks that nothing is left when the attack is over: no
// goroutine, descriptor, connection, session or port.
func (f *fixture) attacked(t *testing.T, attack func()) {
	t.Helper()
	b := f.bystander(t)
	over := make(chan struct{})
	close(over)
	calm50, calm99 := b.until(over, 100)
	before := f.holdings()
	begin, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		attack()
	}()
	p50, p99 := b.until(done, 100)
	t.Logf("round trip p50 %v, p99 %v in %d trips while attacked for %v; calm %v, %v",
		p50, p99, b.trips-100, time.Since(begin).Round(time.Millisecond), calm50, calm99)
	if b.lost > 0 || p99 > slowestTrip {
		t.Errorf("got %d of %d packets lost, p99 %v, want none lost and %v at most", b.lost, b.trips, p99, slowestTrip)
	}
	f.recovers(t, before)
}

// recovers waits until the server holds no more than before.
func (f *fixture) recovers(t *testing.T, before holdings) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) { // of what the kernel and the runtime hold no event tells
		now := f.holdings()
		if now.goroutines <= before.goroutines && now.descriptors <= before.descriptors && now.sessions == before.sessions &&
			now.connections <= before.connections && now.ports == before.ports && now.heap <= before.heap+heapGrowth {
			return
		}
		if time.Since(start) > 15*time.Second {
			t.Fatalf("after the attack: got %+v, want no more than before it: %+v", now, before)
		}
	}
}

// holdings is what a server holds, and the process that it runs in.
type holdings struct {
	goroutines, descriptors, sessions, connections, ports int
	heap                                                  uint64 // bytes
}

func (f *fixture) holdings() holdings {
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	descriptors, _ := os.ReadDir("/proc/self/fd") // none to see on other systems
	s := f.Stats()
	return holdings{runtime.NumGoroutine(), len(descriptors), s.Sessions, s.Connections, s.FreePortsIPv4, mem.HeapAlloc}
}
