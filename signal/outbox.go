package signal

import (
	"strconv"
	"sync"
)

// What may wait for one peer to read it, and what is kept of that which was
// written, until the peer says that it has it.
const (
	queueFrames = 256
	queueBytes  = 1 << 20
	keptFrames  = 256
	keptBytes   = 256 << 10
)

// parcel is a message on its way to one peer.
type parcel struct {
	frame []byte // may be shared with other peers
	from  string // the peer to tell if it cannot be delivered, "" = none
	id    int64  // of that peer's request, 0 = none
}

// outbox holds what one peer is sent, in order. That of a peer which may
// resume numbers its messages, 1, 2, 3 and so on, and keeps each until it is
// acknowledged, so that a new socket goes on where the last one broke off.
// It never blocks, and takes no memory while it is empty.
type outbox struct {
	keeps bool

	mu            sync.Mutex
	owner         *conn    // whose socket takes them, nil while there is none
	parcels       []parcel // the kept ones, then those that wait
	written       int      // how many are the kept ones
	newest        int64    // number of the last parcel
	kept, waiting int      // bytes
	confirms      bool     // the peer has acknowledged something
}

// push adds a parcel and reports whether it fitted.
func (o *outbox) push(p parcel) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.parcels)-o.written >= queueFrames || o.waiting+len(p.frame) > queueBytes {
		return false
	}
	o.parcels = append(o.parcels, p)
	o.newest++
	o.waiting += len(p.frame)
	if o.owner != nil {
		o.owner.out.wake()
	}
	return true
}

// pop returns the next message for the socket of c, nil if there is none or
// the socket is no longer the peer's. It may use buf.
func (o *outbox) pop(c *conn, buf []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owner != c || o.written == len(o.parcels) {
		return nil
	}
	frame := o.parcels[o.written].frame
	o.waiting -= len(frame)
	if !o.keeps {
		o.drop(1)
		return frame
	}
	o.written++
	o.kept += len(frame)
	seq := o.newest - int64(len(o.parcels)-o.written)
	for o.written > keptFrames || o.kept > keptBytes {
		o.forget(1)
	}
	buf = append(buf[:0], `{"seq":`...)
	buf = strconv.AppendInt(buf, seq, 10)
	buf = append(buf, ',')
	return append(buf, frame[1:]...)
}

// ack forgets what was written up to number seq, and reports whether there is
// such a number.
func (o *outbox) ack(seq int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := seq - (o.newest - int64(len(o.parcels)))
	if n > int64(o.written) {
		return false
	}
	o.confirms = true
	o.forget(max(int(n), 0))
	return true
}

// attach gives the outbox to the socket of c, which has received everything up
// to number seq, and returns how much it has missed. It reports false if some
// of that is not there any more.
func (o *outbox) attach(c *conn, seq int64) (missed int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := seq - (o.newest - int64(len(o.parcels)))
	if n < 0 || n > int64(len(o.parcels)) {
		return 0, false
	}
	o.waiting += o.kept
	o.written, o.kept = 0, 0
	for _, p := range o.parcels[:n] {
		o.waiting -= len(p.frame)
	}
	o.drop(int(n))
	o.owner = c
	return len(o.parcels), true
}

// detach takes the outbox from the socket it has.
func (o *outbox) detach() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owner = nil
}

// lost returns what the peer cannot have received: what was not written, and,
// from a peer that acknowledges, what it has not acknowledged.
func (o *outbox) lost() []parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.confirms {
		return o.parcels
	}
	return o.parcels[o.written:]
}

// forget drops the oldest n of the kept parcels.
func (o *outbox) forget(n int) {
	for _, p := range o.parcels[:n] {
		o.kept -= len(p.frame)
	}
	o.written -= n
	o.drop(n)
}

func (o *outbox) drop(n int) {
	clear(o.parcels[:n])
	if o.parcels = o.parcels[n:]; len(o.parcels) == 0 {
		o.parcels = nil
	}
}
