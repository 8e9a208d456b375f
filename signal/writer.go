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
			if s := c.session.Load(); s == nil {
				c.fail(failure(leftClosed, errJoinTimeout().closing(closeTimeout)))
			} else {
				// The log has an error's cause, and the timer is set anew.
				_ = c.renew(s, 0)
			}
		}
	}
}

// nextFrame returns what is to be written next, nil if there is nothing: what the
// server says of itself, what the room says, and the last word.
func (c *conn) nextFrame() (frame []byte, end bool) {
	if frame := c.out.pop(); frame != nil {
		return frame, false
	}
	last, end, drop := c.out.end()
	if s := c.session.Load(); s != nil && !drop {
		if frame := s.out.pop(c, c.buf); frame != nil {
			return frame, false
		}
	}
	return last, end
}

// flush writes all there is and reports whether the socket is done with.
func (c *conn) flush() bool {
	for {
		frame, end := c.nextFrame()
		if frame == nil && !end {
			return false
		}
		if frame != nil && !c.writeFrame(frame) {
			return true
		}
		if end {
			// The peer may be gone or mute; the reaper bounds the handshake.
			_ = c.ws.Close(c.ending.status, c.ending.text)
			return true
		}
	}
}

// writeFrame reports whether the frame was written; if not, the socket is cut.
func (c *conn) writeFrame(frame []byte) bool {
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	err := c.ws.Write(context.Background(), websocket.MessageText, frame)
	_ = c.nc.SetWriteDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.fail(lost(slow()))
	}
	if err != nil {
		c.cut()
	}
	return err == nil
}

// ping ends the socket of a peer that does not answer. Browsers answer pings
// even while the page sleeps.
func (c *conn) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), pongTimeout)
	defer cancel()
	if c.ws.Ping(ctx) != nil && ctx.Err() != nil {
		c.fail(lost(ending{why: leftTimeout, status: closeTimeout, text: "no answer to a ping"}))
	}
}
