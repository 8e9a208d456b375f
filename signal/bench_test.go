package signal

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// A candidate from its bytes to the other peer's queue and out of it.
func BenchmarkRelay(b *testing.B) {
	h := &hub{room: room{name: "r", max: 8}, sessions: map[string]*session{}}
	for _, id := range []string{"p_a", "p_b"} {
		c := &conn{out: newQueue()}
		s := &session{id: id, hub: h}
		if _, err := h.join(s, c, Message{}, "", issued{Servers: json.RawMessage(`[]`)}); err != nil {
			b.Fatal(err)
		}
	}
	a, z := h.sessions["p_a"], h.sessions["p_b"]
	offer := decoded(b, strings.ReplaceAll(describing(Offer, "p_b", 1), "u1", "x7Gh"))
	if err := h.receive(a, a.conn, offer); err != nil {
		b.Fatal(err)
	}
	in := []byte(`{"type":"candidate","id":7,"peer":"p_b","candidate":{"candidate":"candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host generation 0 ufrag x7Gh","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"x7Gh"}}`)
	for z.out.pop(z.conn, nil) != nil {
	}
	b.ReportAllocs()
	for b.Loop() {
		m, err := Decode(in)
		if err == nil {
			err = h.receive(a, a.conn, m)
		}
		if f := z.out.pop(z.conn, nil); err != nil || f == nil {
			b.Fatalf("not delivered: %v", err)
		}
	}
}

// There and back over two WebSockets on loopback.
func BenchmarkRoundTrip(b *testing.B) {
	s := New(Config{Admit: admitAll})
	url := serve(b, s)
	x, y := enter(b, url, "r"), enter(b, url, "r")
	x.expect("peer-joined")
	s.mu.Lock()
	for c := range s.conns {
		c.rate.SetLimit(rate.Inf)
	}
	s.mu.Unlock()
	toX, toY := `{"type":"message","peer":"`+x.id+`","data":1}`, `{"type":"message","peer":"`+y.id+`","data":1}`
	b.ReportAllocs()
	for b.Loop() {
		x.send(toY)
		y.expect("message")
		y.send(toX)
		x.expect("message")
	}
}

// What a joined socket that is silent costs: heap and stacks. The
// clients are bare TCP connections in the same process, counted as well.
func BenchmarkIdleSocket(b *testing.B) {
	const n = 1000
	for b.Loop() {
		s := New(Config{Admit: admitAll, PeersPerIP: n})
		h := httptest.NewServer(s)
		addr := strings.TrimPrefix(h.URL, "http://")
		before := memory()
		conns := make([]net.Conn, n)
		for i := range conns {
			conns[i] = rawJoin(b, addr, fmt.Sprint("room", i/2))
		}
		after := memory()
		b.ReportMetric(float64(after-before)/n, "B/socket")
		b.ReportMetric(float64(runtime.NumGoroutine())/n, "goroutines/socket")
		for _, c := range conns {
			_ = c.Close()
		}
		if err := s.Shutdown(patience(b)); err != nil {
			b.Fatal(err)
		}
		h.Close()
	}
}

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// rawJoin joins over TCP and reads up to the end of the welcome.
func rawJoin(b *testing.B, addr, room string) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprint(c, upgrade+textFrame(`{"type":"join","room":"`+room+`"}`))
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for got := make([]byte, 0, 1024); !strings.Contains(string(got), `"limits"`); {
		buf := make([]byte, 512)
		n, err := c.Read(buf)
		if err != nil && err != io.EOF {
			b.Fatalf("reading the welcome: %v after %s", err, got)
		}
		got = append(got, buf[:n]...)
	}
	return c
}
