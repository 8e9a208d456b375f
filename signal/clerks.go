package signal

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// clerks handle what comes from peers that have joined. A socket's own goroutine
// could, but that takes a deep stack, which thousands need not have. And while the
// garbage collector works, a goroutine that allocates works for it in advance, for
// many messages at once: with thousands that handle one each, all of its work is
// done before any more messages are.
type clerks struct {
	desk chan *conn
	idle atomic.Int32
	most int32 // may be idle
	gone sync.Once
}

func newClerks() *clerks {
	return &clerks{desk: make(chan *conn), most: 2 * int32(runtime.GOMAXPROCS(0))}
}

// handle has the message of c handled, and returns when it was.
func (k *clerks) handle(c *conn) {
	c.handled.Add(1)
	select {
	case k.desk <- c:
	default:
		go k.work(c)
	}
	c.handled.Wait()
}

func (k *clerks) work(c *conn) {
	for c != nil {
		c.take()
		c.handled.Done()
		c = k.next()
	}
}

// leave is called when there are no sockets any more.
func (k *clerks) leave() { k.gone.Do(func() { close(k.desk) }) }

// next returns whose message is next, nil if there will be none, or there are
// others to wait for it.
func (k *clerks) next() (c *conn) {
	if k.idle.Add(1) <= k.most {
		c = <-k.desk
	}
	k.idle.Add(-1)
	return c
}
