package signal

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/coder/websocket"
)

// write writes what is queued, pings, and keeps the time.
func (c *conn) write() {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-c.out.ready:
			if c.flush() {
				return
			}
		case <-ping.C:
			c.tasks.Go(c.ping)
		case <-c.timer.C:
			if c.hub.Load() == nil {
				c.fail(failure(leftClosed, errJoinTimeout().closing(closeTimeout)))
			} else {
				// The log has an error's cause, and the timer is set anew.
				_ = c.renew(0)
			}
		}
	}
}

// flush empties the queue and reports whether the socket is done with.
func (c *conn) flush() bool {
	for {
		frame, end := c.out.pop()
		if end {
			// The peer may be gone or mute; the reaper bounds the handshake.
			_ = c.ws.Close(c.ending.status, c.ending.text)
			return true
		}
		if frame == nil {
			return false
		}
		_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
		err := c.ws.Write(context.Background(), websocket.MessageText, frame)
		_ = c.nc.SetWriteDeadline(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.fail(slow())
		}
		if err != nil {
			c.cut()
			return true
		}
	}
}

// ping ends the socket of a peer that does not answer. Browsers answer pings
// even while the page sleeps.
func (c *conn) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), pongTimeout)
	defer cancel()
	if c.ws.Ping(ctx) != nil && ctx.Err() != nil {
		c.fail(ending{why: leftTimeout, status: closeTimeout, text: "no answer to a ping"})
	}
}
