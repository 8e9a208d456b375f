package signal

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/time/rate"
)

// Times and rates of one socket.
const (
	joinTimeout  = 10 * time.Second // from the upgrade to an accepted join
	pingEvery    = 25 * time.Second // below the 60 s after which proxies cut idle sockets
	pongTimeout  = 20 * time.Second // below pingEvery: one ping under way at a time
	readTimeout  = 10 * time.Second // from a message's first byte to its last
	writeTimeout = 10 * time.Second // for one message to enter the kernel's buffer
	closeGrace   = 2 * time.Second  // for what is queued and the closing handshake
	messageRate  = 30               // messages per second, pings included
	messageBurst = 200
	goawayJitter = 10 // seconds over which clients spread their return
)

// conn is one socket. A goroutine reads, and another writes while there is
// something to write; others may push into its queue and end it.
type conn struct {
	id   string // of the session that it may begin
	at   time.Time
	srv  *Server
	req  *http.Request // the upgrade, nil once the peer has joined
	from netip.Addr
	addr netip.Prefix // what from counts for
	nc   net.Conn
	in   wire
	out  *queue
	rate *rate.Limiter

	got     incoming
	handled sync.WaitGroup // what was got, by a clerk

	timer   *time.Timer             // the join deadline, then the renewal of ICE servers
	session atomic.Pointer[session] // nil until joined or resumed
	writer  sync.WaitGroup          // the last of what is written
	hurried time.Time               // when the writer last set its deadline

	pulse  *time.Timer // until the next ping, or its answer
	pinged bool        // it is an answer that is waited for
	ponged atomic.Bool // since the last ping

	once   sync.Once
	ended  atomic.Bool
	ending ending
	reaper *time.Timer
}

// incoming is a message as it came, or errLong.
type incoming struct {
	kind ws.OpCode
	body []byte
	err  error
}

// run serves the socket, and reports whether it has ended and nothing of it is
// left. If not, it is to be called again, on another goroutine: the stack that a
// join needs is deep, and most sockets are silent from then on.
func (c *conn) run() bool {
	e, over := c.read()
	if !over {
		return false
	}
	c.fail(e)
	c.writer.Wait()
	c.reaper.Stop()
	c.timer.Stop()
	c.pulse.Stop()
	c.cut()
	return true
}

// end closes the socket once what is queued was written, or after closeGrace.
// The first call decides. It never blocks, and takes no lock of a room.
func (c *conn) end(e ending) {
	c.once.Do(func() {
		c.ending = e
		c.reaper = time.AfterFunc(closeGrace, c.cut)
		var last []byte
		if e.err != nil {
			last = e.err.frame()
		}
		c.ended.Store(true)
		c.out.close(last, e.why == leftSlow)
	})
}

// drain tells the client to go away, and ends the socket.
func (c *conn) drain() {
	c.out.push(goawayFrame(c.srv.jitter))
	c.end(ending{why: leftClosed, status: closeDrain, text: "draining"})
}

// fail ends the socket. Its peer leaves the room at once, or is away.
func (c *conn) fail(e ending) {
	c.end(e)
	if s := c.session.Load(); s != nil {
		c.srv.lose(s, c)
	}
}

// subject names the holder of the token, for the log.
func (c *conn) subject() string {
	if s := c.session.Load(); s != nil {
		return s.grant.Subject
	}
	return ""
}

// cut closes the connection without a word, which ends every read and write.
func (c *conn) cut() { _ = c.nc.Close() }

// push queues a frame of the server's own.
func (c *conn) push(frame []byte) {
	if !c.out.push(frame) {
		c.fail(slow())
	}
}

// answer tells the client of an error that is not the end of the socket. To a
// session it is a message like others, which a resume brings again.
func (c *conn) answer(e *Error) {
	if s := c.session.Load(); s == nil {
		c.push(e.frame())
	} else if !s.push(e.frame()) {
		c.fail(slow())
	}
}

// read handles messages until the client has closed the socket or it is broken, or
// until the peer has joined: then it is not over.
// An error that names a close status is the socket's last: what comes after it is
// read, so that the client can read the error, and dropped.
func (c *conn) read() (_ ending, over bool) {
	for {
		kind, b, err := c.in.next()
		switch {
		case err != nil && !errors.Is(err, errLong):
			return lost(ending{why: leftClosed, status: broken(err)}), true
		case kind == ws.OpClose && err == nil:
			return closing(b), true
		case c.ended.Load():
			continue
		case kind == ws.OpPing && err == nil:
			if c.control() {
				c.out.answer(b)
			}
			continue
		case kind == ws.OpPong && err == nil:
			c.ponged.Store(true)
			c.control()
			continue
		}
		c.got = incoming{kind, b, err}
		if c.session.Load() != nil {
			c.srv.clerks.handle(c)
			continue
		}
		if c.take(); c.session.Load() != nil {
			return ending{}, false
		}
	}
}

// take handles what was got.
func (c *conn) take() {
	got := c.got
	c.got = incoming{} // a socket that is silent from now on keeps no message
	if e := c.receive(got.kind, got.body, got.err); e != nil && e.status == 0 {
		c.answer(e)
	} else if e != nil {
		c.fail(failure(leftKicked, e))
	}
}

// receive handles one message, or that it was too long.
func (c *conn) receive(kind ws.OpCode, b []byte, long error) *Error {
	if !c.rate.Allow() {
		return errRate().closing(closeRate)
	}
	if long != nil {
		return errTooLarge().closing(closeTooLarge)
	}
	if kind != ws.OpText {
		return errBinary()
	}
	m, err := decode(b)
	if err == nil {
		err = c.handle(m)
	}
	if err != nil {
		c.refused(m, err)
	}
	if err != nil && m.ID != 0 {
		err = err.answering(m.ID)
	}
	return err
}

func (c *conn) handle(m Message) *Error {
	s := c.session.Load()
	switch {
	case (m.Type == Join || m.Type == Resume) && s != nil:
		return errJoined(s.hub.room.name)
	case m.Type == Join:
		return c.srv.join(c, m)
	case m.Type == Resume:
		return c.srv.resume(c, m)
	case m.Type == Bye && m.Peer == "":
		c.fail(ending{why: leftBye, status: closeBye, text: "bye"})
		return nil
	case s == nil:
		return errNotJoined()
	case m.Type == Ack && !s.resumable():
		return errNotKept()
	case m.Type == Ack && !s.out.ack(m.Seq):
		return errAck(m.Seq)
	case m.Type == Ack:
		return nil
	case m.Type == Restart:
		c.srv.refresh(s, m.Peer)
	}
	err := s.hub.receive(s, c, m)
	if err == nil && m.Type == ICE {
		err = c.renew(s, m.ID)
	}
	return err
}

// renew sends fresh ICE servers, and arranges for the next.
func (c *conn) renew(s *session, re int64) *Error {
	ice, next, err := c.srv.issue(s.id, s.grant)
	c.later(next)
	if err != nil {
		return err
	}
	c.push(iceFrame(re, ice))
	return nil
}

// control counts the client's pings and pongs like messages.
func (c *conn) control() bool {
	ok := c.rate.Allow()
	if !ok {
		c.fail(failure(leftKicked, errRate().closing(closeRate)))
	}
	return ok
}
