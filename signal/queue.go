package signal

import "sync"

// queue holds the server's own words to one socket, which are not numbered:
// they go before what the outbox has, but for the last. There are few, each
// the answer to a message or to a clock.
type queue struct {
	ready chan struct{} // has a value while there is something to do, here or in the outbox

	mu     sync.Mutex
	frames [][]byte
	last   []byte // nil = nothing
	shut   bool
	drop   bool // what waits elsewhere is not sent any more
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

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

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
