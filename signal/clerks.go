package signal

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// clerks handle what comes from peers that have joined. Their sockets could, but
// handling takes a deep stack, which thousands of sockets need not have. And while
// the garbage collector is at work, every goroutine that allocates works for it, so
// much at the first time that it has done enough for many messages: a clerk gets
// its due back, where a socket does not before the collector is done. Messages
// then waited for ten times as long.
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
