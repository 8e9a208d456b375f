//go:build linux

package attack

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/pion/turn/v4"
)

// What an attack may cost a bystander.
const (
	slowestTrip = 500 * time.Millisecond // 99 of 100 round trips are quicker
	maxLost     = 0.01                   // of the packets, where the attack fills the network itself
)

// allocate makes an allocation from the client's host. It reports failure as
// an error, so that it may be called while an attack runs.
func (w world) allocate(label string) (net.PacketConn, func(), error) {
	var conn net.PacketConn
	if err := w.client.Do(func() (err error) {
		conn, err = net.ListenPacket("udp4", clientIP+":0")
		return err
	}); err != nil {
		return nil, nil, err
	}
	user, password, err := turn.GenerateLongTermTURNRESTCredentials(secret, label, time.Hour)
	if err != nil {
		return nil, nil, err
	}
	c, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: serverIP + ":3478", TURNServerAddr: serverIP + ":3478", Conn: conn, Username: user, Password: password})
	if err != nil {
		return nil, nil, err
	}
	end := func() { c.Close(); _ = conn.Close() }
	if err := c.Listen(); err != nil {
		end()
		return nil, nil, err
	}
	relay, err := c.Allocate()
	if err != nil {
		end()
		return nil, nil, err
	}
	return relay, func() { _ = relay.Close(); end() }, nil
}

// attacked measures round trips from client to peer while the server is
// attacked, and a new allocation in the middle of it; then it waits until the
// program holds no more descriptors and goroutines than before.
func (w world) attacked(t *testing.T, attack func()) {
	t.Helper()
	relay, end, err := w.allocate("bystander")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	over := make(chan struct{})
	close(over)
	calm := w.trips(t, relay, over, 200)
	descriptors, goroutines := w.metric(t, "process_open_fds"), w.metric(t, "go_goroutines")
	begin, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		attack()
	}()
	newcomer := make(chan error, 1)
	go func() {
		time.Sleep(300 * time.Millisecond) // when the attack is under way
		_, end, err := w.allocate("newcomer")
		if err == nil {
			end()
		}
		newcomer <- err
	}()
	got := w.trips(t, relay, done, 200)
	t.Logf("while attacked for %v: %v; calm: %v", time.Since(begin).Round(time.Millisecond), got, calm)
	if got.p99 > slowestTrip || float64(got.lost) > maxLost*float64(got.n) {
		t.Errorf("while attacked: %v, want p99 %v at most and %v lost at most", got, slowestTrip, maxLost)
	}
	if err := <-newcomer; err != nil {
		t.Errorf("a new allocation while attacked: %v", err)
	}
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) { // nothing tells when it has recovered
		fds, running := w.metric(t, "process_open_fds"), w.metric(t, "go_goroutines")
		if fds <= descriptors+2 && running <= goroutines+5 { // the question itself takes some
			return
		}
		if time.Since(start) > 90*time.Second {
			t.Fatalf("after the attack: got %v descriptors and %v goroutines, want those of before: %v and %v", fds, running, descriptors, goroutines)
		}
	}
}

// trip is how long n packets took to the peer and back.
type trip struct {
	n, lost  int
	p50, p99 time.Duration
}

func (r trip) String() string {
	return fmt.Sprintf("round trip p50 %v, p99 %v, %d of %d lost", r.p50.Round(time.Microsecond), r.p99.Round(time.Microsecond), r.lost, r.n)
}

// trips relays to the peer and back until done is closed, and n times at least.
func (w world) trips(t *testing.T, relay net.PacketConn, done <-chan struct{}, n int) (r trip) {
	t.Helper()
	var took []time.Duration
	buf := make([]byte, 100)
	for pause := time.NewTicker(2 * time.Millisecond); ; <-pause.C {
		begin := time.Now()
		want := uint64(begin.UnixNano())
		if _, err := relay.WriteTo(binary.BigEndian.AppendUint64(nil, want), w.peer); err != nil {
			t.Fatal(err)
		}
		_ = relay.SetReadDeadline(begin.Add(time.Second))
		for {
			k, _, err := relay.ReadFrom(buf)
			if err != nil {
				r.lost++
				break
			}
			if k == 8 && binary.BigEndian.Uint64(buf) == want {
				break
			}
		}
		took = append(took, time.Since(begin))
		select {
		case <-done:
			if len(took) >= n {
				pause.Stop()
				slices.Sort(took)
				r.n, r.p50, r.p99 = len(took), took[len(took)/2], took[len(took)*99/100]
				return r
			}
		default:
		}
	}
}
