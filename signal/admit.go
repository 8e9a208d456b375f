package signal

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/coder/websocket"
)

// Joining is a peer that wants to join a room, or that was in it.
type Joining struct {
	Room, Peer, Name string
	Meta             json.RawMessage // nil, or an object
	Subject          string          // of [Grant]
	Client           netip.Addr      // of [Config].Client
}

// leftRejoined is told of a join whose client had another one under way.
const leftRejoined = "rejoined"

// join lets the socket into a room, if the room, the token and the caps allow. A
// client whose welcome was lost finds the session there that it has begun; once
// that is over, or if there is none, it begins one.
func (s *Server) join(c *conn, m Message) *Error {
	grant, err := s.admit(c, m)
	if err != nil {
		return err
	}
	has := s.begun(m, grant)
	for {
		if has != nil {
			if ok, err := s.proceed(has, c, m); ok || err != nil {
				return err
			}
		}
		joining, err := s.approve(c, m, grant)
		if err != nil {
			return err
		}
		switch has, err = s.place(c, m, grant, joining); {
		case err != nil:
			s.left(joining, err.Code)
			return err
		case has == nil:
			return nil
		}
		s.left(joining, leftRejoined)
	}
}

// place makes a session of who was admitted, or returns the one that the client
// has begun in the meantime.
func (s *Server) place(c *conn, m Message, grant Grant, joining *Joining) (has *session, _ *Error) {
	ice, next, err := s.issue(c.id, grant)
	if err != nil {
		return nil, err.closing(websocket.StatusInternalError)
	}
	h, err := s.acquire(m.Room)
	if err != nil {
		return nil, err.closing(closeFull)
	}
	one, token := &session{id: c.id, hub: h, addr: c.addr, grant: grant, joining: joining, since: time.Now().Unix()}, ""
	if m.Keep {
		token = s.newToken()
		one.key, one.out.keeps = keyOf(token), true
		s.remember(one)
	}
	if m.Nonce != "" {
		one.first = &first{keyOf(m.Nonce), token, grant.Subject}
	}
	has, err = h.join(one, c, m, token, ice)
	if has == nil && err == nil {
		c.later(next)
		c.req = nil
		return nil, nil
	}
	one.ended = true // nobody else has it
	s.forget(one)
	if err != nil {
		err = err.closing(closeFull)
	}
	return has, err
}

// admit applies the rules of the operator and of the token.
func (s *Server) admit(c *conn, m Message) (Grant, *Error) {
	tok := m.Token
	if tok == "" {
		tok = token(c.req)
	}
	grant, err := s.cfg.Admit(c.req, m.Room, tok)
	if err == nil && grant.Room != "" && grant.Room != m.Room {
		err = errRoomDenied(m.Room)
	}
	if err != nil {
		return Grant{}, err.refusing()
	}
	return grant, nil
}

// begun returns the session that the client has begun with an earlier join, nil if
// there is none.
func (s *Server) begun(m Message, g Grant) *session {
	h := s.hub(m.Room)
	if m.Nonce == "" || h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.begun(m, g)
}

// approve asks for approval, which may take its time: no lock is held, and only
// the socket that wants to join waits. Whom it lets in, [Config].Left has to be
// told of; nil is for nobody.
func (s *Server) approve(c *conn, m Message, g Grant) (*Joining, *Error) {
	if s.cfg.Approve == nil {
		return nil, nil
	}
	if h := s.hub(m.Room); h != nil && h.full() { // nobody need be asked
		return nil, errRoomFull(m.Room, s.cfg.RoomMax).closing(closeFull)
	}
	j := &Joining{m.Room, c.id, m.Name, m.Meta, g.Subject, s.cfg.Client(c.req)}
	if err := s.cfg.Approve(s.ctx, *j); err != nil {
		return nil, err.refusing()
	}
	return j, nil
}

// refusing closes the socket of who may not join.
func (e *Error) refusing() *Error {
	if e.Temporary {
		return e.closing(websocket.StatusInternalError)
	}
	return e.closing(closeDenied)
}

func (h *hub) full() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.room.peers) >= h.room.max
}

// left tells of the end of a peer that was approved.
func (s *Server) left(j *Joining, why string) {
	if j != nil && s.cfg.Left != nil {
		s.cfg.Left(*j, why)
	}
}
