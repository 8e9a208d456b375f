package signal

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	ackAfter   = 100     // messages received
	heldFrames = 1024    // requests that are kept until the server has handled them
	heldBytes  = 4 << 20 // of them together
)

var errHeld = errors.New("signal: too many messages wait for the server to come back")

// link is a client's end of a session: what it has to remember so that nothing
// is lost and nothing comes twice, over however many sockets. It does no I/O.
type link struct {
	token string    // to resume with, "" = there is no session
	nonce string    // to join with again, if the welcome with the token does not arrive
	id    int64     // of the newest request, 1 for the first join
	seq   int64     // of the newest message received
	held  []request // not known to have been handled, oldest first
	bytes int       // in held
	unack int       // messages received since the last ack
	ended bool      // what is held, is of a session that is over
	lost  []request // messages of such a session that may not have arrived
}

type request struct {
	id      int64
	frame   []byte
	kind    Type
	peer    string
	written bool // to some socket, so the server may have handled it
}

// request numbers a request and holds it. The members may be of any type that
// encodes as a JSON object, or nil.
func (l *link) request(kind Type, peer string, members map[string]any) (request, error) {
	m := map[string]any{"type": kind, "id": l.id + 1}
	if peer != "" {
		m["peer"] = peer
	}
	for k, v := range members {
		m[k] = v
	}
	frame, err := json.Marshal(m)
	if err != nil {
		return request{}, fmt.Errorf("signal: encode a %s: %w", kind, err)
	}
	switch {
	case len(frame) > maxMessage:
		return request{}, fmt.Errorf("signal: a %s of %d bytes: a message may have %d", kind, len(frame), maxMessage)
	case len(l.held) >= heldFrames || l.bytes+len(frame) > heldBytes:
		return request{}, errHeld
	}
	l.id++
	r := request{id: l.id, frame: frame, kind: kind, peer: peer}
	l.held = append(l.held, r)
	l.bytes += len(frame)
	return r, nil
}

func newLink() *link { return &link{id: 1, nonce: rand.Text()} }

// greeting is the first message on a new socket: it resumes the session, or
// joins.
func (l *link) greeting(join map[string]any) []byte {
	if l.token == "" {
		join["id"], join["nonce"] = l.id, l.nonce
		if len(l.held) > 0 {
			join["id"] = l.held[0].id - 1 // what is held follows it
		}
		return encode(join)
	}
	return encode(map[string]any{"type": Resume, "resume": l.token, "seq": l.seq})
}

// take handles a message from the server. fresh says whether the caller has not
// had it before, send is what to write back.
func (l *link) take(e Event) (fresh bool, send [][]byte, _ error) {
	switch e.Type {
	case "welcome":
		if l.ended {
			l.forget()
		}
		l.token, l.seq, l.unack, l.ended = e.resume, 0, 0, false
		return true, l.write(), nil
	case "resumed":
		l.handled(e.lastID)
		return true, l.write(), nil
	case string(Ack):
		l.handled(e.lastID)
		return false, nil, nil
	}
	switch {
	case e.seq == 0:
		return true, nil, nil
	case e.seq <= l.seq:
		return false, nil, nil
	case e.seq > l.seq+1:
		return false, nil, fmt.Errorf("signal: message %d came after %d", e.seq, l.seq)
	}
	l.seq = e.seq
	if l.unack++; l.unack >= ackAfter {
		l.unack = 0
		send = append(send, encode(map[string]any{"type": Ack, "seq": l.seq}))
	}
	return true, send, nil
}

// handled forgets the requests that the server has handled.
func (l *link) handled(id int64) {
	for len(l.held) > 0 && l.held[0].id <= id {
		l.bytes -= len(l.held[0].frame)
		l.held = l.held[1:]
	}
}

// expired ends the session, of which the server says up to which request it was
// handled, 0 = it does not know. The next greeting joins as somebody new.
func (l *link) expired(last int64) {
	l.token, l.nonce, l.ended = "", rand.Text(), true
	if last == 0 {
		return
	}
	l.handled(last)
	for i := range l.held {
		l.held[i].written = false // it did not arrive, and will not
	}
}

// forget drops what is held of a session that has ended, also what was sent since,
// when nobody knew, but for messages. They go out now, unless they were written and
// the server cannot say whether they were handled: sent again they might arrive twice.
// If who they are for is gone, the server says so. Descriptions and candidates are of
// connections that have ended with the session.
func (l *link) forget() {
	held := l.held
	l.held, l.bytes = nil, 0
	for _, r := range held {
		switch {
		case r.kind != Note:
		case r.written:
			l.lost = append(l.lost, r)
		default:
			l.held = append(l.held, r)
			l.bytes += len(r.frame)
		}
	}
}

// write returns everything that is held, for a socket.
func (l *link) write() [][]byte {
	var out [][]byte
	for i := range l.held {
		l.held[i].written = true
		out = append(out, l.held[i].frame)
	}
	return out
}

// wrote takes note that the newest request goes to a socket.
func (l *link) wrote() { l.held[len(l.held)-1].written = true }
