package signal

import "sync"

// What may wait for one peer to read it.
const (
	queueFrames = 256
	queueBytes  = 1 << 20
)

// queue holds what waits to be written to one socket. It never blocks and
// takes no memory while it is empty.
type queue struct {
	ready chan struct{} // has a value while there is something to do

	mu     sync.Mutex
	frames [][]byte
	bytes  int
	shut   bool
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// push adds a frame and reports whether it fitted. A queue that is shut takes
// everything and keeps nothing.
func (q *queue) push(frame []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut {
		return true
	}
	if len(q.frames) >= queueFrames || q.bytes+len(frame) > queueBytes {
		return false
	}
	q.add(frame)
	return true
}

// pop returns the oldest frame, nil if there is none, and whether no more
// will come. What was popped no longer counts.
func (q *queue) pop() (frame []byte, end bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.frames) == 0 {
		q.frames = nil
		return nil, q.shut
	}
	frame = q.frames[0]
	q.frames[0] = nil
	q.frames = q.frames[1:]
	q.bytes -= len(frame)
	return frame, false
}

// close lets what waits go out, or drops it, and then last (nil = nothing).
func (q *queue) close(last []byte, drop bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut {
		return
	}
	if drop {
		q.frames, q.bytes = nil, 0
	}
	if last != nil {
		q.frames = append(q.frames, last)
		q.bytes += len(last)
	}
	q.shut = true
	q.wake()
}

func (q *queue) add(frame []byte) {
	q.frames = append(q.frames, frame)
	q.bytes += len(frame)
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
