package signal

import (
	"encoding/json"
	"net/netip"

	"github.com/coder/websocket"
)

// Joining is a peer that wants to join a room, or that was in it.
type Joining struct {
	Room, Peer, Name string
	Meta             json.RawMessage // nil, or an object
	Subject          string          // of [Grant]
	Client           netip.Addr      // of [Config].Client
}

// admit applies the rules of the operator and of the token, and then asks for
// approval, which may take its time: no lock is held, and only the socket that
// wants to join waits. Whom it lets in, [Config].Left has to be told of.
func (s *Server) admit(c *conn, m Message) (Grant, *Joining, *Error) {
	tok := m.Token
	if tok == "" {
		tok = token(c.req)
	}
	grant, err := s.cfg.Admit(c.req, m.Room, tok)
	if err == nil && grant.Room != "" && grant.Room != m.Room {
		err = errRoomDenied(m.Room)
	}
	if err != nil {
		return Grant{}, nil, err.refusing()
	}
	if s.cfg.Approve == nil {
		return grant, nil, nil
	}
	if h := s.hub(m.Room); h != nil && h.full() { // nobody need be asked
		return Grant{}, nil, errRoomFull(m.Room, s.cfg.RoomMax).closing(closeFull)
	}
	j := &Joining{m.Room, c.id, m.Name, m.Meta, grant.Subject, s.cfg.Client(c.req)}
	if err := s.cfg.Approve(s.ctx, *j); err != nil {
		return Grant{}, nil, err.refusing()
	}
	return grant, j, nil
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
