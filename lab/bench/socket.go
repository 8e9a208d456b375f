//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// socket is the WebSocket of one peer until the load has it.
type socket struct {
	net.Conn
	in []byte // read and not taken
	id string
}

// addresses of the clients: one has not ports enough for all.
var addresses = []net.IP{net.IPv4(127, 0, 0, 2), net.IPv4(127, 0, 0, 3), net.IPv4(127, 0, 0, 4)}

var dialled atomic.Int64

func dialSocket(path string) (*socket, error) {
	from := addresses[int(dialled.Add(1))%len(addresses)]
	d := ws.Dialer{Timeout: 30 * time.Second, NetDial: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext}
	c, early, _, err := d.Dial(context.Background(), "ws://"+signalAddr+path)
	if err != nil {
		return nil, err
	}
	w := &socket{Conn: c}
	if early != nil {
		b, _ := early.Peek(early.Buffered())
		w.in = append(w.in, b...)
		ws.PutReader(early)
	}
	return w, c.SetReadDeadline(time.Now().Add(30 * time.Second))
}

func (w *socket) send(message []byte) error {
	frame, _ := masked(message)
	_, err := w.Write(frame)
	return err
}

// expect reads up to a message with text in it.
func (w *socket) expect(text string) ([]byte, error) {
	for {
		op, body, rest, err := frame(w.in)
		if err != nil {
			return nil, err
		}
		if rest == nil {
			b := make([]byte, 4096)
			n, err := w.Read(b)
			if err != nil {
				return nil, err
			}
			w.in = append(w.in, b[:n]...)
			continue
		}
		w.in = rest
		if op == ws.OpText && strings.Contains(string(body), text) {
			return body, nil
		}
	}
}

// detach returns a descriptor of the socket's own, which Go's runtime does not
// watch, and closes what the runtime has of it.
func (w *socket) detach() (fd int, err error) {
	raw, err := w.Conn.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }), err)
	}
	return fd, errors.Join(err, w.Close())
}

// mask is that of all clients (RFC 6455 section 5.3).
var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// masked returns a message as a frame of a client, and where the message begins in it.
func masked(message []byte) (frame []byte, at int) {
	frame = append(frame, 0x81)
	if len(message) < 126 {
		frame = append(frame, 0x80|byte(len(message)))
	} else {
		frame = append(frame, 0x80|126, byte(len(message)>>8), byte(len(message)))
	}
	frame = append(frame, mask[:]...)
	at = len(frame)
	frame = append(frame, message...)
	ws.Cipher(frame[at:], mask, 0)
	return frame, at
}

// frame takes a server's frame from the front of b; rest is nil if it has not
// come as a whole.
func frame(b []byte) (op ws.OpCode, body, rest []byte, _ error) {
	if len(b) < 2 {
		return 0, nil, nil, nil
	}
	op, n, head := ws.OpCode(b[0]&15), int(b[1]), 2
	switch {
	case n == 126 && len(b) < 4:
		return 0, nil, nil, nil
	case n == 126:
		n, head = int(b[2])<<8|int(b[3]), 4
	case n > 126:
		return 0, nil, nil, errors.New("a frame of 64 kB or more, or one that is masked")
	}
	if len(b) < head+n {
		return 0, nil, nil, nil
	}
	body, rest = b[head:head+n], b[head+n:]
	if op == ws.OpClose {
		return 0, nil, nil, fmt.Errorf("closed by the server: %q", body)
	}
	return op, body, rest, nil
}
