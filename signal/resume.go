package signal

import (
	"github.com/coder/websocket"
)

// forget drops a session that has ended, and its room with the room's last one.
// Who was in the room is told of as having left.
func (s *Server) forget(one *session) {
	if last, over := one.hub.over(one); over && s.drop(one, last) && one.why != "" {
		s.left(one.joining, string(one.why))
	}
}

// drop reports whether it is the first to forget the session, which was handled up
// to the request last.
func (s *Server) drop(one *session, last int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.forgotten {
		return false
	}
	one.forgotten = true
	if one.resumable() {
		delete(s.sessions, one.key)
		s.past.add(one.key, last)
	}
	s.unhold(one)
	s.release(one.hub)
	return true
}

// lose tells the room that a socket of the session is lost. A peer that may come
// back goes on to count for its address.
func (s *Server) lose(one *session, c *conn) {
	if !one.hub.lose(one, c, c.ending, func() { one.hub.expire(one); s.forget(one) }) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !one.held && !one.forgotten {
		one.held = true
		s.perIP[one.addr]++
		s.sockets++
	}
}

// unhold no longer counts a session without a socket. The caller holds s.mu.
func (s *Server) unhold(one *session) {
	if one.held {
		one.held = false
		s.uncount(one.addr)
	}
}

// resume goes on with a session over a new socket. If that cannot be, the socket
// may still join a room.
func (s *Server) resume(c *conn, m Message) *Error {
	key := keyOf(m.Resume)
	s.mu.Lock()
	one := s.sessions[key]
	s.mu.Unlock()
	if one != nil {
		if ok, err := s.proceed(one, c, m); ok || err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return errResume(s.past.last[key])
}

// proceed goes on with a session over a new socket, after a resume or a join. It
// reports false if that cannot be: the session has ended.
func (s *Server) proceed(one *session, c *conn, m Message) (ok bool, _ *Error) {
	ice, next, err := s.issue(one.id, one.grant)
	if err != nil {
		return false, err.closing(websocket.StatusInternalError)
	}
	old, ok := one.hub.resume(one, c, m, ice)
	if old != nil {
		old.end(ending{why: leftClosed, status: closeReplaced, text: "replaced"})
	}
	if !ok {
		s.forget(one)
		return false, nil
	}
	c.later(next)
	c.req = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unhold(one)
	return true, nil
}

// refresh sends fresh ICE servers to two peers that are about to restart ICE. A
// peer without a socket gets some when it comes back.
func (s *Server) refresh(one *session, other string) {
	for _, to := range one.hub.pair(one, other) {
		if ice, _, err := s.issue(to.id, to.grant); err == nil {
			one.hub.tell(to, iceFrame(0, ice))
		}
	}
}

// remember lets a session be found by its token.
func (s *Server) remember(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[one.key] = one
}
