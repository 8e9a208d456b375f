package signal

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"
)

// server is the peer that messages of the operator come from. Ids of peers begin
// otherwise.
const server = "server"

// RoomInfo is a room with somebody in it.
type RoomInfo struct {
	Name  string
	Max   int        // peers that it holds
	Count int        // of peers in it
	Peers []PeerInfo // in the order they came; nil in a list of rooms
}

// PeerInfo is a peer in a room.
type PeerInfo struct {
	ID, Name string
	Meta     json.RawMessage // nil, or an object
	Away     bool            // it has no socket and may come back
	Since    time.Time       // when it joined
	Subject  string          // of [Grant]
}

// Rooms lists the rooms that somebody is in, by name, without their peers.
func (s *Server) Rooms() []RoomInfo {
	s.mu.Lock()
	hubs := slices.Collect(maps.Values(s.rooms))
	s.mu.Unlock()
	list := make([]RoomInfo, 0, len(hubs))
	for _, h := range hubs {
		if r := h.info(); r.Count > 0 {
			r.Peers = nil
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b RoomInfo) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Room returns a room with its peers, and false if nobody is in it.
func (s *Server) Room(name string) (RoomInfo, bool) {
	h := s.hub(name)
	if h == nil {
		return RoomInfo{}, false
	}
	r := h.info()
	return r, r.Count > 0
}

// Kick puts a peer out of a room: it gets the error kicked, its socket is closed
// with 4003, and it cannot resume. Why is told to it, "" = not said. It reports
// false if there is no such peer.
func (s *Server) Kick(room, peer, why string) bool {
	h := s.hub(room)
	if h == nil {
		return false
	}
	one := h.kick(peer, why)
	if one == nil {
		return false
	}
	s.forget(one)
	return true
}

// Tell sends data, which has to be valid JSON, to a peer of a room, or to all of
// them ("*"), as a message from the peer "server". It returns how many it is for;
// it reaches them like the messages of peers, also over a resume.
func (s *Server) Tell(room, peer string, data json.RawMessage) int {
	h := s.hub(room)
	if h == nil {
		return 0
	}
	return h.announce(peer, relayFrame(Note, server, append([]byte(`,"data":`), data...)))
}

// Full returns why the request could not join the room even with every right, and
// the HTTP status for that; nil if it could.
func (s *Server) Full(r *http.Request, room string) (*Error, int) {
	addr := bucket(s.cfg.Client(r))
	s.mu.Lock()
	h, err, status := s.rooms[room], (*Error)(nil), 0
	switch {
	case s.draining:
		err, status = errDraining(), http.StatusServiceUnavailable
	case s.perIP[addr] >= s.cfg.PeersPerIP:
		err, status = errManySockets(s.cfg.PeersPerIP), http.StatusTooManyRequests
	case h == nil && len(s.rooms) >= s.cfg.RoomsMax:
		err, status = errServerFull(), http.StatusServiceUnavailable
	}
	s.mu.Unlock()
	if err == nil && h != nil && h.info().Count >= s.cfg.RoomMax {
		err, status = errRoomFull(room, s.cfg.RoomMax), http.StatusConflict
	}
	return err, status
}

func (s *Server) hub(room string) *hub {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[room]
}

// info copies what others may know of the room.
func (h *hub) info() RoomInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := RoomInfo{Name: h.room.name, Max: h.room.max, Count: len(h.room.peers)}
	for _, p := range h.room.peers {
		one := h.sessions[p.id]
		r.Peers = append(r.Peers, PeerInfo{p.id, p.name, p.meta, p.away, time.Unix(one.since, 0).UTC(), one.grant.Subject})
	}
	return r
}

// kick ends a peer's session and its socket, and returns the session, nil if
// there is none.
func (h *hub) kick(peer, why string) *session {
	h.mu.Lock()
	defer h.mu.Unlock()
	one := h.sessions[peer]
	if one == nil {
		return nil
	}
	if one.conn != nil {
		one.conn.end(failure(leftKicked, errKicked(why).closing(closeDenied)))
	} else {
		one.reaper.Stop()
	}
	h.end(one, leftKicked)
	return one
}

// announce delivers a frame to a peer, or to all, and returns to how many.
func (h *hub) announce(peer string, frame []byte) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ds []delivery
	for _, p := range h.room.peers {
		if peer == Everyone || peer == p.id {
			ds = append(ds, delivery{p.id, parcel{frame: frame}})
		}
	}
	h.deliver(ds)
	return len(ds)
}
