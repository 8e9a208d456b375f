package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// socket is the WebSocket of one peer, with little of its own, so that the load
// takes less of the processor than the servers do.
type socket struct {
	net.Conn
	in   *bufio.Reader // nil while nothing is awaited
	id   string
	lock sync.Mutex // of out
	out  []byte
	body []byte
}

// addresses of the clients: one has not ports enough for all.
var addresses = []net.IP{net.IPv4(127, 0, 0, 2), net.IPv4(127, 0, 0, 3), net.IPv4(127, 0, 0, 4)}

var dialled atomic.Int64

func dialSocket(path string) (*socket, error) {
	from := addresses[int(dialled.Add(1))%len(addresses)]
	d := ws.Dialer{Timeout: 30 * time.Second, NetDial: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext}
	c, in, _, err := d.Dial(context.Background(), "ws://"+signalAddr+path)
	if err != nil {
		return nil, err
	}
	if in == nil {
		in = bufio.NewReaderSize(c, 2048)
	}
	return &socket{Conn: c, in: in}, nil
}

// send sends a message, which it masks (RFC 6455 section 5.3).
func (w *socket) send(message []byte) error { return w.sendAhead(message, 1) }

// sendAhead sends a message n times, each in a write of its own, as clients do.
func (w *socket) sendAhead(message []byte, n int) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	w.out = append(w.out[:0], 0x81)
	if len(message) < 126 {
		w.out = append(w.out, 0x80|byte(len(message)))
	} else {
		w.out = append(w.out, 0x80|126, byte(len(message)>>8), byte(len(message)))
	}
	w.out = append(w.out, mask[:]...)
	head := len(w.out)
	w.out = append(w.out, message...)
	ws.Cipher(w.out[head:], mask, 0)
	for range n {
		if _, err := w.Write(w.out); err != nil {
			return err
		}
	}
	return nil
}

// next returns the next message, valid until the one after it.
func (w *socket) next() ([]byte, error) {
	for {
		head, err := w.in.Peek(2)
		if err != nil {
			return nil, err
		}
		op, n := head[0]&15, int(head[1])
		skip := 2
		switch n {
		case 126:
			if head, err = w.in.Peek(4); err != nil {
				return nil, err
			}
			n, skip = int(head[2])<<8|int(head[3]), 4
		case 127:
			return nil, errors.New("a frame of 64 kB or more")
		}
		_, _ = w.in.Discard(skip)
		if cap(w.body) < n {
			w.body = make([]byte, n)
		}
		w.body = w.body[:n]
		if _, err := io.ReadFull(w.in, w.body); err != nil {
			return nil, err
		}
		switch ws.OpCode(op) {
		case ws.OpText:
			return w.body, nil
		case ws.OpPing:
			if _, err := w.Write([]byte{0x8a, 0x80, 0, 0, 0, 0}); err != nil {
				return nil, err
			}
		case ws.OpClose:
			return nil, fmt.Errorf("closed by the server: %q", w.body)
		}
	}
}

// expect reads up to a message with text in it.
func (w *socket) expect(text string) ([]byte, error) {
	_ = w.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		b, err := w.next()
		if err != nil || strings.Contains(string(b), text) {
			return b, err
		}
	}
}

// candidates waits for a candidate, and returns how many there are now.
func (w *socket) candidates(s signaler) (n int, err error) {
	_ = w.SetReadDeadline(time.Now().Add(30 * time.Second))
	for n == 0 || w.in.Buffered() > 0 {
		b, err := w.next()
		if err != nil {
			return n, err
		}
		if _, ok := s.candidateOf(b); ok {
			n++
		}
	}
	return n, nil
}
