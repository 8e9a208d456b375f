package turnsrv

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// firstFrameTimeout is how long a new connection may take, with its
	// handshake, to send one whole STUN message.
	firstFrameTimeout = 10 * time.Second
	// idleTimeout is how long a connection without an allocation may take for
	// each later message. With an allocation its lifetime is the bound.
	idleTimeout = time.Minute
	// writeTimeout is how long one write to a client may take before the
	// connection is given up.
	writeTimeout = 10 * time.Second
)

// stream is one connection.
type stream struct {
	net.Conn
	client netip.AddrPort
	queue  chan frame
	done   chan struct{}
	once   sync.Once

	counted bool // among the connections of its client's address; for the goroutine that reads

	mu        sync.Mutex // guards allocated together with the read deadline
	allocated bool
}

// await sets the deadline of the next frame.
func (c *stream) await(first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.allocated:
	case first:
		_ = c.SetReadDeadline(time.Now().Add(firstFrameTimeout))
	default:
		_ = c.SetReadDeadline(time.Now().Add(idleTimeout))
	}
}

func (c *stream) hold(allocated bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.allocated = allocated
	deadline := time.Time{}
	if !allocated {
		deadline = time.Now().Add(idleTimeout)
	}
	_ = c.SetReadDeadline(deadline)
}

// write sends what is queued until the connection ends.
func (c *stream) write() {
	for {
		select {
		case f := <-c.queue:
			_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
			_, err := c.Conn.Write(f.buf[:f.size])
			frameBuffers.Put(f.buf)
			if err != nil {
				c.end()
				return
			}
		case <-c.done:
			return
		}
	}
}

func (c *stream) end() {
	c.once.Do(func() {
		close(c.done)
		c.Close()
	})
}
