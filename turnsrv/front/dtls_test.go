package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
)

// echo serves DTLS on loopback, and every message back to its client.
func echo(t *testing.T, pending int) *dtlsListener {
	t.Helper()
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert := selfSigned(t)
	l := newDTLS(socket, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }, nil)
	l.pending.max = pending
	var wg sync.WaitGroup
	wg.Go(l.read)
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					_, _ = c.Write(buf[:n])
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
		if err := socket.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v of the socket, want it closed behind the last connection", err)
		}
	})
	return l
}

// connect does a handshake with l.
func connect(t *testing.T, l net.Listener) (*dtls.Conn, net.PacketConn) {
	t.Helper()
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := dtls.ClientWithOptions(socket, l.Addr(), dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return c, socket
}

// exchange sends a message and wants the same back.
func exchange(t *testing.T, c net.Conn, message string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte(message)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil || string(buf[:n]) != message {
		t.Errorf("got %q, %v, want %q", buf[:n], err, message)
	}
}

func TestDTLSKeepsMessagesApart(t *testing.T) {
	l := echo(t, 0)
	a, _ := connect(t, l)
	b, _ := connect(t, l)
	for n := 1; n <= 7; n++ {
		exchange(t, a, strings.Repeat("a", n))
		exchange(t, b, strings.Repeat("b", 1200+n))
	}
}

func TestDTLSOldClientsOutliveTheListener(t *testing.T) {
	l := echo(t, 0)
	old, _ := connect(t, l)
	exchange(t, old, "before")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	exchange(t, old, "after")
	socket, err := net.Dial("udp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if _, err := socket.Write(hello(t)); err != nil {
		t.Fatal(err)
	}
	exchange(t, old, "later") // what was sent before has been read
	l.mu.Lock()
	n := len(l.clients)
	l.mu.Unlock()
	if n != 1 {
		t.Errorf("got %d clients, want the old one", n)
	}
	old.Close()
	for start := time.Now(); !errors.Is(l.socket.SetDeadline(time.Time{}), net.ErrClosed); runtime.Gosched() {
		if time.Since(start) > 5*time.Second {
			t.Fatal("the socket is still open behind the last client")
		}
	}
}

// hello is the first message of a handshake, as a client sends it.
func hello(t *testing.T) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer there.Close()
	sent := make(chan []byte, 1)
	go func() {
		b := make([]byte, 4096)
		n, _ := there.Read(b)
		sent <- b[:n]
		here.Close()
	}()
	c, err := dtls.ClientWithOptions(pipe{here}, &net.UDPAddr{}, dtls.WithInsecureSkipVerify(true))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Handshake()
	c.Close()
	return <-sent
}

// pipe is a net.Conn as a net.PacketConn.
type pipe struct{ net.Conn }

func (p pipe) ReadFrom(b []byte) (int, net.Addr, error)  { n, err := p.Read(b); return n, nil, err }
func (p pipe) WriteTo(b []byte, _ net.Addr) (int, error) { return p.Write(b) }

func TestDTLSHalfHandshakesStopNobody(t *testing.T) {
	l := echo(t, 20)
	good, _ := connect(t, l)
	first := hello(t)
	attacker, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	attacker.Close()
	for i := range 100 { // each from a port of its own, none goes on
		c, err := net.Dial("udp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(first); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			answer := make([]byte, 2048)
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, err := c.Read(answer)
			if err != nil || answer[13] != 3 || n > len(first) {
				t.Errorf("got %d bytes of type %d, %v, want a HelloVerifyRequest no longer than the %d of the request", n, answer[13], err, len(first))
			}
		}
		c.Close()
		exchange(t, good, fmt.Sprint("message ", i))
	}
	for range 3 {
		late, _ := connect(t, l)
		exchange(t, late, "hello")
	}
	l.pending.mu.Lock()
	if n := l.pending.entries.Len(); n > 20 {
		t.Errorf("got %d pending handshakes, want 20 at most", n)
	}
	l.pending.mu.Unlock()
}

func TestDTLSIgnoresWhatIsNoHello(t *testing.T) {
	l := echo(t, 0)
	good, socket := connect(t, l)
	c, err := net.Dial("udp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first := hello(t)
	for _, b := range [][]byte{{}, {22}, []byte(binding), first[:20], append([]byte{23}, first[1:]...), bytes.Repeat([]byte{22}, 100)} {
		_, _ = c.Write(b)
		_, _ = socket.WriteTo(b, l.Addr()) // as if spoofed
		for _, record := range [][]byte{
			{21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 0},        // a fatal alert
			{21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0},        // the end
			{23, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 'x'},         // data
			{20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 2},           // not what it should be
			{21, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 2, 2, 0},        // not encrypted, but said to be
			{99, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 0},        // unknown
			{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 3, 1, 2, 3},     // no message
			{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 255, 255, 1, 2, 3}, // longer than it is
			{21, 254, 253, 0, 2, 0, 0, 0, 0, 0, 9, 0, 2, 2, 0},        // of the future
		} {
			_, _ = socket.WriteTo(append(record, b...), l.Addr())
			_, _ = socket.WriteTo(record, l.Addr())
		}
		exchange(t, good, "still here")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.clients) != 1 {
		t.Errorf("got %d clients, want the good one", len(l.clients))
	}
}

func TestDTLSQueuesAreBounded(t *testing.T) {
	before := runtime.NumGoroutine()
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert := selfSigned(t)
	l := DTLS(socket, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }, nil, nil).(*dtlsListener)
	c, err := net.Dial("udp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first := hello(t)
	for range 10 * dtlsQueue { // of one client that nobody accepts
		_, _ = c.Write(first)
	}
	clients := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.clients)
	}
	for start := time.Now(); clients() < dtlsBacklog; {
		other, err := net.Dial("udp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = other.Write(first)
		other.Close()
		if time.Since(start) > 5*time.Second {
			t.Fatalf("got %d clients, want %d", clients(), dtlsBacklog)
		}
	}
	if n := clients(); n != dtlsBacklog {
		t.Errorf("got %d clients, want %d", n, dtlsBacklog)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
	for start := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Since(start) > 5*time.Second {
			t.Fatalf("got %d goroutines, want %d", runtime.NumGoroutine(), before)
		}
	}
}

func TestRecordGuard(t *testing.T) {
	record := func(kind byte, epoch byte, body string) string {
		return string([]byte{kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 1, byte(len(body) >> 8), byte(len(body))}) + body
	}
	for _, tt := range []struct {
		name        string
		established bool
		datagram    string
		times, want int // how many of them pass
	}{
		{"data", true, record(23, 1, "hello"), 10000, 10000},
		{"data before its time", false, record(23, 1, strings.Repeat("x", 1011)), 100, 32},
		{"handshake", false, record(22, 0, strings.Repeat("x", 1011)), 100, 32},
		{"handshake, encrypted", true, record(22, 1, strings.Repeat("x", 1011)), 100, 32},
		{"handshake and data", true, record(22, 1, strings.Repeat("x", 1011)) + record(23, 1, "hello"), 100, 32},
		{"last flight", false, record(22, 0, "key exchange") + record(20, 0, "\x01") + record(22, 1, "finished"), 1, 1},
		{"alert at the end", true, record(23, 1, "hello") + record(21, 0, "\x02\x00"), 1, 0},
		{"encrypted alert", true, record(21, 1, "encrypted"), 1, 1},
		{"rest", true, record(23, 1, "hello") + "x", 1, 0},
		{"cipher spec", false, record(20, 0, "\x02"), 1, 0},
		{"empty cipher spec", false, record(20, 0, ""), 1, 0},
		{"next epoch", true, record(23, 2, "hello"), 1, 0},
	} {
		var g recordGuard
		g.established.Store(tt.established)
		got := 0
		for range tt.times {
			if g.admits([]byte(tt.datagram)) {
				got++
			}
		}
		if got != tt.want {
			t.Errorf("%s: got %d of %d through, want %d", tt.name, got, tt.times, tt.want)
		}
	}
}

func FuzzRecordGuard(f *testing.F) {
	f.Add([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1}, true)
	f.Add([]byte{20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0}, false)
	f.Fuzz(func(t *testing.T, b []byte, established bool) {
		var g recordGuard
		g.established.Store(established)
		if g.admits(b) && len(b) > 4 && b[4] == 0 && b[3] == 0 && b[0] != recordHandshake && b[0] != recordCipherSpec {
			t.Errorf("got %x through", b)
		}
		isClientHello(b)
	})
}
