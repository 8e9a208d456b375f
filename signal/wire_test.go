package signal

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// given is a connection on which bytes have come, in pieces of some size.
type given struct {
	net.Conn
	rest []byte
	size int
}

func (g *given) Read(b []byte) (int, error) {
	if len(g.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), g.size)], g.rest)
	g.rest = g.rest[n:]
	return n, nil
}
func (g *given) SetReadDeadline(time.Time) error { return nil }

// masked is a frame of a client.
func masked(fin bool, kind ws.OpCode, payload []byte) []byte {
	f := ws.MaskFrameWith(ws.NewFrame(kind, fin, bytes.Clone(payload)), [4]byte{1, 2, 3, 4})
	return ws.MustCompileFrame(f)
}

// Messages come as they were sent, however they are cut and whatever is between.
func TestWireReadsWhatWasSent(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), maxMessage/16)
	stream := bytes.Join([][]byte{
		masked(true, ws.OpText, []byte("one")), masked(true, ws.OpText, big[:200]), masked(true, ws.OpPing, []byte("p")),
		masked(false, ws.OpText, big[:3000]), masked(true, ws.OpPong, nil), masked(false, ws.OpContinuation, nil), masked(true, ws.OpContinuation, big[3000:]),
		masked(true, ws.OpText, append(big, 'x')), masked(true, ws.OpBinary, big),
		masked(false, ws.OpText, append(big, 'x')), masked(false, ws.OpContinuation, []byte("y")), masked(true, ws.OpContinuation, []byte("z")),
		masked(true, ws.OpClose, []byte{3, 232}),
	}, nil)
	type message struct {
		kind ws.OpCode
		body string
		err  error
	}
	want := []message{
		{ws.OpText, "one", nil}, {ws.OpText, string(big[:200]), nil}, {ws.OpPing, "p", nil}, {ws.OpPong, "", nil},
		{ws.OpText, string(big), nil}, {0, "", errLong}, {ws.OpBinary, string(big), nil}, {0, "", errLong}, {ws.OpText, "yz", nil},
		{ws.OpClose, "\x03\xe8", nil}, {0, "", io.EOF},
	}
	for _, size := range []int{1, 3, 1000, len(stream)} {
		w := wire{nc: &given{rest: stream, size: size}, buf: make([]byte, readBuffer)}
		for i, m := range want {
			kind, b, err := w.next()
			if kind != m.kind || string(b) != m.body || !errors.Is(err, m.err) {
				t.Fatalf("pieces of %d, message %d: got %v, %.40q, %v, want %v, %.40q, %v", size, i, kind, b, err, m.kind, m.body, m.err)
			}
		}
	}
}

func TestWireRefusesWhatBreaksTheRules(t *testing.T) {
	for name, frame := range map[string][]byte{
		"not masked":                     {0x81, 0x01, 'x'},
		"a reserved bit":                 {0xC1, 0x80, 0, 0, 0, 0},
		"a reserved kind":                {0x83, 0x80, 0, 0, 0, 0},
		"a ping in fragments":            {0x09, 0x80, 0, 0, 0, 0},
		"a ping that is too long":        masked(true, ws.OpPing, make([]byte, 126)),
		"a continuation of nothing":      masked(true, ws.OpContinuation, nil),
		"a message in another's middle":  append(masked(false, ws.OpText, nil), masked(true, ws.OpText, nil)...),
		"a ping of more than fits in 63": {0x89, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0},
	} {
		w := wire{nc: &given{rest: frame, size: 100}, buf: make([]byte, readBuffer)}
		if _, _, err := w.next(); broken(err) != 1002 {
			t.Errorf("%s: got %v, want what is closed with 1002", name, err)
		}
	}
}

// Whatever comes: no panic, and no message that is too long.
func FuzzWire(f *testing.F) {
	f.Add(masked(true, ws.OpText, []byte("one")), 1)
	f.Add(append(masked(false, ws.OpText, []byte("one")), masked(true, ws.OpContinuation, []byte("two"))...), 2)
	f.Add([]byte{0x81, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0}, 3)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		w := wire{nc: &given{rest: b, size: max(size, 1)}, buf: make([]byte, readBuffer)}
		for {
			_, m, err := w.next()
			if len(m) > maxMessage {
				t.Fatalf("a message of %d bytes", len(m))
			}
			if err != nil && err != errLong {
				return
			}
		}
	})
}

// A small message costs no memory on its way in.
func TestWireReadsWithoutMemory(t *testing.T) {
	frame := masked(true, ws.OpText, make([]byte, 250))
	g := &given{size: len(frame)}
	w := wire{nc: g, buf: make([]byte, readBuffer)}
	buf := make([]byte, len(frame))
	if n := testing.AllocsPerRun(100, func() {
		copy(buf, frame)
		g.rest = buf
		if _, _, err := w.next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations for a message", n)
	}
}
