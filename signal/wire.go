package signal

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
)

// readBuffer is what a silent socket holds for reading, in bytes: enough for a few
// candidates. A greater message has a buffer of its own while it comes in.
const readBuffer = 1 << 10

// errLong says that a message is longer than maxMessage.
var errLong = errors.New("message too long")

// wire reads messages and control frames (RFC 6455) from a client.
type wire struct {
	nc      net.Conn
	buf     []byte
	at, end int       // what was read and not taken yet is buf[at:end]
	skip    int64     // bytes to come that nobody wants
	kind    ws.OpCode // of the message whose last fragment has not come, 0 = none
	parts   []byte    // its fragments
	timed   bool      // there is a deadline for reading
}

// next returns a message, or a control frame, unmasked. Both are valid until the
// next call. After errLong it may be called again: the rest of the frame is
// skipped. The client has readTimeout from the first byte of a message to its last.
func (w *wire) next() (ws.OpCode, []byte, error) {
	for {
		h, b, err := w.frame()
		if err != nil {
			return 0, nil, err
		}
		kind := h.OpCode
		switch {
		case kind.IsControl():
		case !h.Fin || kind == ws.OpContinuation:
			if kind != ws.OpContinuation {
				w.kind = kind
			}
			w.parts = append(w.parts, b...)
			if !h.Fin {
				continue
			}
			kind, b = w.kind, w.parts
			w.kind, w.parts = 0, nil
		}
		if w.timed && w.kind == 0 {
			w.timed = false
			err = w.nc.SetReadDeadline(time.Time{})
		}
		return kind, b, err
	}
}

// frame reads one frame.
func (w *wire) frame() (h ws.Header, b []byte, err error) {
	for ; w.skip > 0; w.take(int(min(w.skip, int64(w.end-w.at)))) {
		if err := w.need(1); err != nil {
			return h, nil, err
		}
	}
	if h, err = w.header(); err != nil {
		return h, nil, err
	}
	state := ws.StateServerSide
	if w.kind != 0 {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return h, nil, err
	}
	if h.Length > int64(maxMessage-len(w.parts)) {
		w.skip, w.parts = h.Length, nil
		if h.Fin {
			w.kind = 0
		} else if h.OpCode != ws.OpContinuation {
			w.kind = h.OpCode
		}
		return h, nil, errLong
	}
	n := int(h.Length)
	if n <= len(w.buf) {
		if err := w.need(n); err != nil {
			return h, nil, err
		}
		b = w.buf[w.at : w.at+n]
		w.at += n
	} else {
		b = make([]byte, n)
		had := copy(b, w.buf[w.at:w.end])
		w.at += had
		if err = w.hurry(); err == nil {
			_, err = io.ReadFull(w.nc, b[had:])
		}
	}
	ws.Cipher(b, h.Mask, 0)
	return h, b, err
}

// take skips n bytes that were read.
func (w *wire) take(n int) {
	w.at += n
	w.skip -= int64(n)
}

// header reads what is before a frame's payload.
func (w *wire) header() (h ws.Header, err error) {
	for size := 2; ; {
		if err := w.need(size); err != nil {
			return h, err
		}
		b := w.buf[w.at:w.end]
		short, masked := b[1]&0x7F, b[1]&0x80 != 0
		want := 2
		switch short {
		case 126:
			want += 2
		case 127:
			want += 8
		}
		extended := want
		if masked {
			want += 4
		}
		if size = want; len(b) < size {
			continue
		}
		h = ws.Header{Fin: b[0]&0x80 != 0, Rsv: b[0] >> 4 & 7, OpCode: ws.OpCode(b[0] & 15), Masked: masked, Length: int64(short)}
		switch short {
		case 126:
			h.Length = int64(binary.BigEndian.Uint16(b[2:]))
		case 127:
			h.Length = int64(min(binary.BigEndian.Uint64(b[2:]), math.MaxInt64))
		}
		if masked {
			copy(h.Mask[:], b[extended:])
		}
		w.at += size
		return h, nil
	}
}

// need reads until there are n bytes, which fit into the buffer.
func (w *wire) need(n int) error {
	for w.end-w.at < n {
		if w.at == w.end {
			w.at, w.end = 0, 0
		} else if w.at+n > len(w.buf) {
			w.end = copy(w.buf, w.buf[w.at:w.end])
			w.at = 0
		}
		if err := w.hurry(); err != nil {
			return err
		}
		got, err := w.nc.Read(w.buf[w.end:])
		w.end += got
		if err != nil && w.end-w.at < n {
			return err
		}
	}
	return nil
}

// hurry sets the deadline for a message that has begun.
func (w *wire) hurry() error {
	if w.timed || w.at == w.end && w.kind == 0 && w.skip == 0 {
		return nil
	}
	w.timed = true
	return w.nc.SetReadDeadline(time.Now().Add(readTimeout))
}

// appendFrame adds a frame of the server: whole, and not masked.
func appendFrame(b []byte, kind ws.OpCode, payload []byte) []byte {
	b = append(b, 0x80|byte(kind))
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// closeFrame is the last frame. To a client that gave no status it has none.
func closeFrame(status websocket.StatusCode, text string) []byte {
	if status == websocket.StatusNoStatusRcvd {
		return appendFrame(nil, ws.OpClose, nil)
	}
	body := binary.BigEndian.AppendUint16(nil, uint16(status))
	return appendFrame(nil, ws.OpClose, append(body, text...))
}
