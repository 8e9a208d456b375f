//go:build linux

package main

import (
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// two returns the load of a room of two, and the server's ends of its sockets.
func two(t *testing.T) (*load, [2]net.Conn) {
	t.Helper()
	l, err := newLoad(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	at, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	var far [2]net.Conn
	for i := range far {
		near, err := net.Dial("tcp4", at.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if far[i], err = at.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = far[i].Close() })
		if err := l.add(i, &socket{Conn: near}, native{}.candidate("p_z", line)); err != nil {
			t.Fatal(err)
		}
	}
	return l, far
}

// clientFrame reads a frame of a client.
func clientFrame(from net.Conn) (ws.OpCode, []byte, error) {
	h, err := ws.ReadHeader(from)
	if err != nil {
		return 0, nil, err
	}
	b := make([]byte, h.Length)
	_, err = io.ReadFull(from, b)
	ws.Cipher(b, h.Mask, 0)
	return h.OpCode, b, err
}

// relay passes on what comes from one peer.
func relay(from, to net.Conn) {
	for {
		_, b, err := clientFrame(from)
		if err != nil {
			return
		}
		_ = ws.WriteFrame(to, ws.NewTextFrame(b))
	}
}

func TestLoadCountsWhatItSends(t *testing.T) {
	l, far := two(t)
	go relay(far[0], far[1])
	go relay(far[1], far[0])
	if lost, err := l.flood(50, 4); lost != 0 || err != nil {
		t.Errorf("flood: lost %d, %v", lost, err)
	}
	for range 2 {
		p, err := l.pace(1000, 100*time.Millisecond)
		if err != nil || len(p.took) != 100 || len(p.late) != 100 || p.lost != 0 || quantile(p.took, 0) <= 0 {
			t.Errorf("pace: %d came, %d were sent, %d lost, %v", len(p.took), len(p.late), p.lost, err)
		}
	}
}

// A pace that was not held gives no number.
func TestLoadSaysThatItIsLate(t *testing.T) {
	l, far := two(t)
	go relay(far[0], far[1])
	go relay(far[1], far[0])
	p, err := l.pace(1e8, 20*time.Microsecond)
	if err != nil || len(p.took) != 2000 || quantile(p.late, 1) <= 0 {
		t.Fatalf("%d came, %v late at most, %v", len(p.took), quantile(p.late, 1), err)
	}
	for _, tt := range []struct {
		took, late float64
		number     bool
	}{{5, 0.9, true}, {5, 1.1, false}, {50, 4.9, true}, {50, 5.1, false}} {
		p := paced{took: []float64{tt.took}, late: []float64{tt.late}}
		if got := p.inTime(0.5); (got == tt.took) != tt.number || math.IsNaN(got) == tt.number {
			t.Errorf("%v ms, late by %v: got %v", tt.took, tt.late, got)
		}
	}
	if got := spread([]float64{math.NaN(), math.NaN()}); got != "the load was late" {
		t.Errorf("got %q", got)
	}
	if got := spread([]float64{1, math.NaN(), 2}); got != "2.00 (1.00 to 2.00), the load was late 1 times of 3" {
		t.Errorf("got %q", got)
	}
	if got := spread([]float64{1, 3, 2}); got != "2.00 (1.00 to 3.00)" {
		t.Errorf("got %q", got)
	}
}

// What a server says besides is answered, wherever a frame breaks off.
func TestLoadAnswersPings(t *testing.T) {
	l, far := two(t)
	frames := append(ws.MustCompileFrame(ws.NewPingFrame([]byte("x"))), ws.MustCompileFrame(ws.NewTextFrame([]byte(`{"type":"peer-joined"}`)))...)
	frames = append(frames, ws.MustCompileFrame(ws.NewPingFrame(nil))...)
	for i := range frames {
		if _, err := far[0].Write(frames[i : i+1]); err != nil {
			t.Fatal(err)
		}
		if err := l.turn(10_000, ignore); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"x", ""} {
		_ = far[0].SetReadDeadline(time.Now().Add(10 * time.Second))
		if op, b, err := clientFrame(far[0]); err != nil || op != ws.OpPong || string(b) != want {
			t.Fatalf("got %v %q, %v, want a pong with %q", op, b, err, want)
		}
	}
	if err := ws.WriteFrame(far[1], ws.NewCloseFrame(ws.NewCloseFrameBody(4004, "no answer"))); err != nil {
		t.Fatal(err)
	}
	if err := l.turn(10_000, ignore); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("got %v, want what the server said", err)
	}
}
