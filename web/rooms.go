package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
	"unicode/utf8"
)

// maxTold is how many bytes the body of POST /v1/rooms/{room}/messages may have.
const maxTold = 64 << 10

// Rooms is what runs behind the API of rooms. Nil functions leave their
// endpoints out. All are called from many goroutines.
type Rooms struct {
	List func() []Room
	// Get returns a room with its peers, and false if nobody is in it.
	Get func(room string) (Room, bool)
	// Kick puts a peer out, who is told why ("" = not said). It reports false if
	// there is no such peer.
	Kick func(room, peer, why string) bool
	// Tell sends data, valid JSON, to a peer or to all ("*"), and returns how many
	// got it.
	Tell func(room, peer string, data json.RawMessage) int
	// Full says why the request would not get into the room even with all rights;
	// nil if it would.
	Full func(r *http.Request, room string) *Error
}

// Room is a room with somebody in it.
type Room struct {
	Name  string     `json:"room"`
	Max   int        `json:"max"`   // peers it holds
	Count int        `json:"count"` // of peers in it
	Peers []RoomPeer `json:"peers,omitempty"`
}

// RoomPeer is a peer in a room.
type RoomPeer struct {
	ID      string          `json:"id"`
	Name    string          `json:"name,omitempty"`
	Meta    json.RawMessage `json:"meta,omitempty"`
	Away    bool            `json:"away,omitempty"`
	Since   time.Time       `json:"since"` // RFC 3339, UTC, whole seconds
	Subject string          `json:"subject,omitempty"`
}

// rooms adds the routes of rooms.
func (s *server) rooms(o Rooms) {
	s.mux.HandleFunc("GET /v1/validate", s.cors(s.validate))
	s.mux.HandleFunc("OPTIONS /v1/validate", s.preflight("GET"))
	if o.List != nil {
		s.mux.HandleFunc("GET /v1/rooms", s.righted(RightList, s.listRooms))
		s.mux.HandleFunc("OPTIONS /v1/rooms", s.preflight("GET"))
	}
	if o.Get != nil {
		s.mux.HandleFunc("GET /v1/rooms/{room}", s.righted(RightList, s.getRoom))
		s.mux.HandleFunc("OPTIONS /v1/rooms/{room}", s.preflight("GET"))
	}
	if o.Kick != nil {
		s.mux.HandleFunc("DELETE /v1/rooms/{room}/peers/{peer}", s.righted(RightKick, s.kick))
		s.mux.HandleFunc("OPTIONS /v1/rooms/{room}/peers/{peer}", s.preflight("DELETE"))
	}
	if o.Tell != nil {
		s.mux.HandleFunc("POST /v1/rooms/{room}/messages", s.righted(RightTell, s.tell))
		s.mux.HandleFunc("OPTIONS /v1/rooms/{room}/messages", s.preflight("POST"))
	}
}

// righted lets those through to h who show the API key, or a token with the
// right, good for {room} if the path names one.
func (s *server) righted(right Rights, h func(http.ResponseWriter, *http.Request, Grant)) http.HandlerFunc {
	return s.cors(func(w http.ResponseWriter, r *http.Request) {
		g, err := s.bearerGrant(r)
		if err == nil {
			err = g.May(right, r.PathValue("room"))
		}
		if err != nil {
			err.ServeHTTP(w, r)
			return
		}
		h(w, r, g)
	})
}

// bearerGrant is what the bearer of the request may do; without one, nothing.
func (s *server) bearerGrant(r *http.Request) (Grant, *Error) {
	g := Grant{Client: s.Access.Client(r)}
	b := bearer(r.Header)
	if b == "" {
		return Grant{}, errNoKey()
	}
	if err := s.spend(r); err != nil {
		return Grant{}, err
	}
	return granted(g, s.Access.accept(&g, b))
}

func (s *server) listRooms(w http.ResponseWriter, _ *http.Request, g Grant) {
	list := []Room{}
	if g.Room == "" {
		list = append(list, s.Rooms.List()...)
	} else if one, ok := s.Rooms.Get(g.Room); ok {
		one.Peers = nil
		list = append(list, one)
	}
	writeJSON(w, http.StatusOK, map[string][]Room{"rooms": list})
}

func (s *server) getRoom(w http.ResponseWriter, r *http.Request, _ Grant) {
	room, ok := s.Rooms.Get(r.PathValue("room"))
	if !ok {
		errNoRoom(r.PathValue("room")).ServeHTTP(w, r)
		return
	}
	writeJSON(w, http.StatusOK, room)
}

func (s *server) kick(w http.ResponseWriter, r *http.Request, _ Grant) {
	room, peer, why := r.PathValue("room"), r.PathValue("peer"), r.URL.Query().Get("reason")
	if len(why) > 200 {
		errQuery("reason_invalid", "the reason is too long", "Use at most 200 bytes.").ServeHTTP(w, r)
		return
	}
	if !s.Rooms.Kick(room, peer, why) {
		errNoPeer(room, peer).ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) tell(w http.ResponseWriter, r *http.Request, _ Grant) {
	const hint = `Send {"peer":"PEER or *","data":ANY JSON} of at most 65536 bytes.`
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTold))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		(&Error{Status: 413, Code: "too_large", Message: "the message is too large", Hint: hint}).ServeHTTP(w, r)
		return
	}
	var m struct {
		Peer string          `json:"peer"`
		Data json.RawMessage `json:"data"`
	}
	if err != nil || !utf8.Valid(b) || json.Unmarshal(b, &m) != nil || m.Peer == "" || m.Data == nil {
		errQuery("bad_message", "the body is no message", hint).ServeHTTP(w, r)
		return
	}
	room := r.PathValue("room")
	n := s.Rooms.Tell(room, m.Peer, m.Data)
	if n == 0 {
		errNoPeer(room, m.Peer).ServeHTTP(w, r)
		return
	}
	writeJSON(w, http.StatusOK, map[string]int{"told": n})
}

// validate answers GET /v1/validate?room=R&token=T with the error that a join
// would get, because browsers hide why a WebSocket was not opened.
func (s *server) validate(w http.ResponseWriter, r *http.Request) {
	g, err := s.admitted(r)
	if err != nil {
		err.ServeHTTP(w, r)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		OK      bool     `json:"ok"`
		Room    string   `json:"room"`
		Subject string   `json:"subject,omitempty"`
		Rights  []string `json:"rights"`
	}{true, r.URL.Query().Get("room"), g.Subject, g.Rights.Names()})
}

func (s *server) admitted(r *http.Request) (Grant, *Error) {
	q := r.URL.Query()
	room, token := q.Get("room"), cmp.Or(q.Get("token"), bearer(r.Header))
	if wait := s.limit.wait(s.Access.Client(r), time.Now()); wait > 0 {
		return Grant{}, errRate(wait)
	}
	switch {
	case room == "":
		return Grant{}, errQuery("missing_field", "room is missing", "Name the room: GET /v1/validate?room=ROOM.")
	case !isName(room, "._~-"):
		return Grant{}, errQuery("bad_field", "room is no room name", "Use 1 to 64 of A-Z a-z 0-9 . _ ~ -.")
	}
	g, err := s.Access.join(r, room, token)
	if err == nil && s.Rooms.Full != nil {
		err = s.Rooms.Full(r, room)
	}
	return granted(g, err)
}

func errNoRoom(room string) *Error {
	return &Error{Status: 404, Code: "room_not_found", Message: fmt.Sprintf("nobody is in room %.64q", room),
		Hint: "A room is there while somebody is in it; GET /v1/rooms lists them."}
}

func errNoPeer(room, peer string) *Error {
	return &Error{Status: 404, Code: "peer_not_found", Message: fmt.Sprintf("room %.64q has no peer %.64q", room, peer),
		Hint: "It may have left; GET /v1/rooms/ROOM lists who is there."}
}
