package signal

import (
	"errors"
	"os"
	"time"

	"github.com/gobwas/ws"
)

// batchBytes is how much is gathered for one write, but for the last message.
const batchBytes = 16 << 10

// batch is the memory of a writer, which has it only while it writes.
type batch struct {
	out   []byte // frames for one write
	frame []byte // one numbered message
}

// write writes what is queued until there is nothing more.
func (c *conn) write() {
	b := c.srv.batches.Get().(*batch)
	for {
		if c.flush(b) {
			c.out.state.Store(closed)
			c.writer.Done()
			break
		}
		if c.out.rest() {
			break
		}
	}
	if cap(b.out) <= 4*batchBytes && cap(b.frame) <= 4*batchBytes {
		c.srv.batches.Put(b)
	}
}

// nextFrame returns what is to be written next, nil if there is nothing: what the
// server says of itself, what the room says, and the last word. What it numbers is
// good until the next call.
func (c *conn) nextFrame(b *batch) (frame []byte, end bool) {
	if frame := c.out.pop(); frame != nil {
		return frame, false
	}
	last, end, drop := c.out.end()
	if s := c.session.Load(); s != nil && !drop {
		if frame := s.out.pop(c, b.frame); frame != nil {
			if s.resumable() { // the others share their frames
				b.frame = frame
			}
			return frame, false
		}
	}
	return last, end
}

// flush writes all there is and reports whether the socket is done with.
func (c *conn) flush(b *batch) bool {
	for more, end := true, false; more; {
		b.out = c.out.control(b.out[:0])
		for more && len(b.out) < batchBytes {
			var frame []byte
			if frame, end = c.nextFrame(b); frame != nil {
				b.out = appendFrame(b.out, ws.OpText, frame)
			}
			more = frame != nil && !end
		}
		if end {
			b.out = append(b.out, closeFrame(c.ending.status, c.ending.text)...)
		}
		if len(b.out) > 0 && !c.send(b.out) || end {
			return true
		}
	}
	return false
}

// send reports whether the bytes were written; if not, the socket is cut. The
// deadline is set anew once a second at most, for that costs as much as a message.
func (c *conn) send(b []byte) bool {
	if now := time.Now(); now.Sub(c.hurried) >= time.Second {
		c.hurried = now
		_ = c.nc.SetWriteDeadline(now.Add(writeTimeout))
	}
	_, err := c.nc.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.fail(lost(slow()))
	}
	if err != nil {
		c.cut()
	}
	return err == nil
}

// alarm is called at the end of the time to join, and when ICE servers are to be
// renewed.
func (c *conn) alarm() {
	if s := c.session.Load(); s == nil {
		c.fail(failure(leftClosed, errJoinTimeout().closing(closeTimeout)))
	} else if !c.ended.Load() {
		// The log has an error's cause, and the timer is set anew.
		_ = c.renew(s, 0)
	}
}

// beat pings, and ends the socket of a peer that does not answer. Browsers answer
// pings even while the page sleeps.
func (c *conn) beat() {
	switch {
	case c.ended.Load():
		return
	case !c.pinged:
		c.pinged = true
		c.ponged.Store(false)
		c.out.ping()
		c.pulse.Reset(pongTimeout)
	case c.ponged.Load():
		c.pinged = false
		c.pulse.Reset(pingEvery - pongTimeout)
	default:
		c.fail(lost(ending{why: leftTimeout, status: closeTimeout, text: "no answer to a ping"}))
		return
	}
	if c.ended.Load() {
		c.pulse.Stop()
	}
}

// later sets the alarm.
func (c *conn) later(d time.Duration) {
	if c.timer.Reset(d); c.ended.Load() {
		c.timer.Stop()
	}
}
