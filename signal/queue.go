package signal

import (
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"
)

// queue holds the server's own words to one socket, which are not numbered:
// they go before what the outbox has, but for the last. There are few, each
// the answer to a message or to a clock. It starts the writer when there is
// something to write, here or in the outbox.
type queue struct {
	start func() // starts the writer, nil = there is none
	state atomic.Int32

	mu     sync.Mutex
	frames [][]byte
	pings  bool   // a ping is due
	pongs  bool   // a ping is to be answered, with pong
	pong   []byte // the newest ping's payload (RFC 6455 section 5.5.3)
	last   []byte // nil = nothing
	shut   bool
	drop   bool // what waits elsewhere is not sent any more
}

// What the writer does.
const (
	resting int32 = iota
	writing
	again  // it is writing, and there may be more than it has seen
	closed // it has written the last frame, or cannot write
)

func newQueue() *queue { return new(queue) }

// push adds a frame and reports whether it fitted. A queue that is shut takes
// everything and keeps nothing.
func (q *queue) push(frame []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.shut:
		return true
	case len(q.frames) >= queueFrames:
		return false
	}
	q.frames = append(q.frames, frame)
	q.wake()
	return true
}

// ping has a ping written.
func (q *queue) ping() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pings = true
	q.wake()
}

// answer has a ping answered.
func (q *queue) answer(ping []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pongs, q.pong = true, append(q.pong[:0], ping...)
	q.wake()
}

// control adds the control frames that are due to b.
func (q *queue) control(b []byte) []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pongs {
		b = appendFrame(b, ws.OpPong, q.pong)
	}
	if q.pings {
		b = appendFrame(b, ws.OpPing, nil)
	}
	q.pings, q.pongs = false, false
	return b
}

// pop returns the oldest frame, nil if there is none.
func (q *queue) pop() (frame []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.frames) == 0 {
		q.frames = nil
		return nil
	}
	frame, q.frames[0] = q.frames[0], nil
	q.frames = q.frames[1:]
	return frame
}

// close lets what waits go out, or drops it, and then last (nil = nothing).
func (q *queue) close(last []byte, drop bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut {
		return
	}
	if drop {
		q.frames = nil
	}
	q.last, q.shut, q.drop = last, true, drop
	q.wake()
}

// end returns the last frame once the queue is shut, and whether the outbox is
// not to be sent before it.
func (q *queue) end() (last []byte, shut, drop bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last, q.shut, q.drop
}

// wake has the writer look, which is started if it rests.
func (q *queue) wake() {
	for {
		switch now := q.state.Load(); {
		case q.start == nil || now == again || now == closed:
			return
		case now == resting && q.state.CompareAndSwap(resting, writing):
			q.start()
			return
		case now == writing && q.state.CompareAndSwap(writing, again):
			return
		}
	}
}

// rest reports whether the writer may end, for it has seen everything.
func (q *queue) rest() bool {
	if q.state.CompareAndSwap(writing, resting) {
		return true
	}
	q.state.Store(writing)
	return false
}
