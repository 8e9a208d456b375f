package signal

import (
	"bytes"
	"sync"
	"time"

	"turnkey/signal/doctor"
)

// hub is a room with its lock and the sessions of its peers. Nothing under the
// lock waits: a delivery goes into an outbox, or ends the session it is for.
type hub struct {
	refs int // sessions that hold the hub; under Server.mu

	mu       sync.Mutex
	room     room
	sessions map[string]*session
}

// join lets a session in, with c as its socket. If the client has joined before,
// and its welcome was lost, it returns the session that it has.
func (h *hub) join(s *session, c *conn, m Message, resume string, ice issued) (has *session, _ *Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if has := h.begun(m, s.grant); has != nil {
		return has, nil
	}
	p := peer{id: s.id, name: m.Name, meta: m.Meta, noRollback: m.fixed, addr: c.from, relays: bytes.Contains(ice.Servers, []byte(`"turn`))}
	ds, err := h.room.join(p, m, resume, ice, time.Now())
	if err != nil {
		return nil, err
	}
	h.sessions[s.id] = s
	for _, p := range h.room.peers[:len(h.room.peers)-1] {
		h.remind(s.id, p.id)
	}
	s.conn, s.newest, s.out.owner, s.last = c, c.at, c, m.ID
	c.session.Store(s)
	c.out.push(ds[0].frame) // the welcome, which comes before all that is numbered
	h.deliver(ds[1:])
	return nil, nil
}

// begun returns the session that a join with the same nonce has begun, nil if
// there is none. The caller holds h.mu.
func (h *hub) begun(m Message, g Grant) *session {
	if m.Nonce == "" {
		return nil
	}
	key := keyOf(m.Nonce)
	for _, s := range h.sessions {
		if s.began(key, g.Subject) {
			return s
		}
	}
	return nil
}

// heard takes note that a client has its welcome, since it speaks. The caller
// holds h.mu.
func (h *hub) heard(s *session) {
	if s.first != nil && s.first.token != "" && !s.ended {
		s.first.token = ""
		h.room.peer(s.id).met = nil
	}
}

// receive handles a request that came over c. One that came over a socket that
// has been replaced, or after the end, or that was handled before, is dropped.
func (h *hub) receive(s *session, c *conn, m Message) *Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.conn != c || s.ended {
		return nil
	}
	h.heard(s)
	before := s.last
	if isNew, err := s.count(m.ID); err != nil || !isNew {
		return err
	}
	if s.last/ackEvery != before/ackEvery {
		c.out.push(ackFrame(s.last))
	}
	switch m.Type {
	case ICE:
		return nil
	case State:
		h.room.report(s.id, m)
		return nil
	case Update:
		ds, err := h.room.update(s.id, m)
		h.deliver(ds)
		return err
	}
	ds, err := h.room.relay(s.id, m, time.Now())
	h.deliver(ds)
	if m.Type == Offer && err == nil {
		h.remind(s.id, m.Peer)
	}
	return err
}

// quietAfter is how long two peers may say nothing that leads to a connection.
const quietAfter = 10 * time.Second

// remind tells from after a while, if it should have offered to the other peer or
// sent candidates by then.
func (h *hub) remind(from, to string) {
	time.AfterFunc(quietAfter, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if e := h.room.quiet(from, to); e != nil {
			h.deliver([]delivery{{from, parcel{frame: e.warning()}}})
		}
	})
}

// resume gives the session the socket c, which is told so first, and returns the
// socket to be closed, if there is one: that which had it, or c if that is the older
// of the two. It reports false if the session cannot go on, and has ended. A join
// resumes, too, from the welcome on, if that is not known to have arrived.
func (h *hub) resume(s *session, c *conn, m Message, ice issued) (old *conn, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old = s.conn
	switch {
	case s.ended:
		return nil, false
	case s.newest.After(c.at):
		return c, true
	case old == nil && !s.reaper.Stop(): // its time is just over
		h.fail(s, leftTimeout)
		return nil, false
	case m.Type == Join && s.first.token == "":
		h.fail(s, leftClosed)
		return old, false
	}
	missed, ok := s.out.attach(c, m.Seq)
	if !ok {
		h.fail(s, leftClosed)
		return old, false
	}
	if m.Type == Join {
		s.last = max(s.last, m.ID)
		c.out.push(h.room.welcome(s.id, m, s.first.token, ice))
	} else {
		h.heard(s)
		c.out.push(resumedFrame(m.ID, s.last, missed, ice))
	}
	s.conn, s.newest, s.resent = c, c.at, s.last
	c.session.Store(s) // from here on the socket writes what was missed
	c.out.wake()
	h.room.tell(doctor.Event{What: doctor.Back, Peer: s.id, Address: c.from})
	h.deliver(h.room.setAway(s.id, false))
	return old, true
}

// lose is called when the socket c of the session is lost: the peer leaves, or
// is away and expire is to be called when its time is over.
func (h *hub) lose(s *session, c *conn, e ending, expire func()) (away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case s.ended || s.conn != c:
		return false
	case e.mayReturn && s.resumable():
		s.conn = nil
		s.out.detach()
		s.reaper = time.AfterFunc(resumeWindow, expire)
		h.deliver(h.room.setAway(s.id, true))
		return true
	}
	h.end(s, e.why)
	return false
}

// pair returns the session and the other one, if that is in the room.
func (h *hub) pair(s *session, other string) []*session {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.sessions[other]; o != nil && o != s {
		return []*session{s, o}
	}
	return nil
}

// tell sends what is not numbered to a session's socket, if it has one.
func (h *hub) tell(s *session, frame []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.conn != nil {
		s.conn.out.push(frame)
	}
}

// expire ends the session of a peer that has not come back. Who has sent what
// it did not get is told so.
func (h *hub) expire(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.ended || s.conn != nil {
		return
	}
	s.reaper.Stop()
	h.fail(s, leftTimeout)
}

// fail ends a session that cannot go on, and tells who has sent what it did not
// get. The caller holds h.mu.
func (h *hub) fail(s *session, why reason) {
	for _, p := range s.out.lost() {
		if to := h.sessions[p.from]; to != nil && p.id != 0 {
			h.deliver([]delivery{{p.from, parcel{frame: errNotDelivered(s.id).answering(p.id).frame()}}})
		}
	}
	h.end(s, why)
}

// end takes a session out of the room. The caller holds h.mu.
func (h *hub) end(s *session, why reason) {
	s.ended, s.why = true, why
	delete(h.sessions, s.id)
	h.deliver(h.room.leave(s.id, why))
}

// over reports whether the session has ended, and up to which request it was handled.
func (h *hub) over(s *session) (last int64, over bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return s.last, s.ended
}

// deliver hands parcels to the outboxes. A peer whose outbox is full leaves at
// once, which others are told, which may fill their outboxes, and so on.
func (h *hub) deliver(ds []delivery) {
	for len(ds) > 0 {
		d := ds[0]
		ds = ds[1:]
		s := h.sessions[d.to]
		if s == nil || s.gone() || s.out.push(d.parcel) {
			continue
		}
		s.ended, s.why = true, leftSlow
		delete(h.sessions, d.to)
		if s.conn != nil {
			s.conn.end(slow())
		}
		ds = append(ds, h.room.leave(d.to, leftSlow)...)
	}
}
