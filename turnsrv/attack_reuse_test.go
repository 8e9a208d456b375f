package turnsrv

import (
	"errors"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// A client that ends its allocation and makes another one at once keeps the
// other one: pion's goroutine of the first must not end it.
func TestReallocationOnTheSameFiveTupleLives(t *testing.T) {
	m := inMemory(t, nil)
	w := m.signer()
	client := m.newcomer()
	for i := range 2000 {
		for _, step := range []struct {
			method stun.Method
			life   uint32
		}{{stun.MethodAllocate, 600}, {stun.MethodRefresh, 600}, {stun.MethodRefresh, 0}} {
			if got := code(m.call(w, client, step.method, udpTransport, lifetime(step.life))); got != 0 {
				t.Fatalf("time %d, %v for %d s: got %d, want success", i, step.method, step.life, got)
			}
			runtime.Gosched()
		}
	}
}

// Ports that are set aside count as those of who had them set aside.
func TestReservationsDoNotEvadeQuotas(t *testing.T) {
	f := start(t, limited(func(l *Limits) { l.AllocationsPerUser = 2 }))
	for range 20 {
		w := f.wire(t, "udp").challenge()
		if code(w.call(stun.MethodAllocate, udpTransport, evenPair)) != 0 {
			break
		}
		w.call(stun.MethodRefresh, lifetime(0))
		w.Close()
	}
	if got := f.Stats().FreePortsIPv4; got < 396 {
		t.Errorf("a user that may have 2 allocations, and has %d, holds %d ports", f.Stats().Sessions, 400-got)
	}
}

// Half a DTLS handshake proves no address, so it must not keep the one that it
// names from connecting over TCP.
func TestForgedDTLSHandshakesLockNobodyOut(t *testing.T) {
	f, at := secure(t, "dtls")
	hello := clientHello(t)
	for range 64 {
		c, err := net.Dial("udp4", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(hello); err != nil {
			t.Fatal(err)
		}
	}
	for start := time.Now(); f.Stats().Connections < 64 && time.Since(start) < 3*time.Second; {
		time.Sleep(time.Millisecond)
	}
	t.Logf("connections counted: %d", f.Stats().Connections)
	conn, err := net.Dial("tcp4", f.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(allocate); err != nil {
		t.Fatal(err)
	}
	w := &wire{Conn: conn, t: t}
	if _, err := w.frame(time.Second); err != nil {
		t.Errorf("over TCP: %v %v", err, errors.Is(err, net.ErrClosed))
	}
}

// clientHello returns the first datagram of a DTLS client.
func clientHello(t *testing.T) []byte {
	t.Helper()
	sink, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	dialDTLS(t, sink.LocalAddr())
	b := make([]byte, 2000)
	_ = sink.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := sink.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}
