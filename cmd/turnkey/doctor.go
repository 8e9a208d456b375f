package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"turnkey/signal/doctor"
	"turnkey/turnsrv"
	"turnkey/web"
)

const (
	doctorPeers = 1 << 15          // that the call doctor remembers
	patience    = 20 * time.Second // after an offer, before a line is logged
	maxWaiting  = 1024             // pairs that wait for a look
)

// callDoctor says why two peers do not connect: to who asks over HTTP, and in
// one line of the log for each pair.
type callDoctor struct {
	book    *doctor.Book
	examine func(...*doctor.Peer) // adds what STUN and TURN know
	serving func() bool
	log     *slog.Logger

	mu      sync.Mutex
	waiting []couple // for a look, the first in front
	looking bool     // a goroutine looks at them
}

// couple is a pair of peers.
type couple struct{ room, from, to string }

func (s *server) newCallDoctor() *callDoctor {
	return &callDoctor{book: doctor.NewBook(doctorPeers), examine: s.examine, serving: s.ready.Load, log: s.log}
}

// see takes note of what happens between peers.
func (d *callDoctor) see(e doctor.Event) {
	begun, failed := d.book.See(e, time.Now())
	two := couple{e.Room, e.Peer, e.To}
	if begun {
		time.AfterFunc(patience, func() { d.look(two) })
	}
	if failed {
		d.look(two)
	}
}

// look has a pair looked at soon, and returns at once: its caller may hold a room's
// lock. One goroutine looks at all, because each look goes through every TURN
// session. Beyond 1024 that wait a pair is left out.
func (d *callDoctor) look(two couple) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) >= maxWaiting {
		return
	}
	d.waiting = append(d.waiting, two)
	if !d.looking {
		d.looking = true
		go d.lookAtAll()
	}
}

// lookAtAll returns when nobody waits any more.
func (d *callDoctor) lookAtAll() {
	for {
		d.mu.Lock()
		if len(d.waiting) == 0 {
			d.waiting, d.looking = nil, false
			d.mu.Unlock()
			return
		}
		two := d.waiting[0]
		d.waiting = d.waiting[1:]
		d.mu.Unlock()
		d.tell(two.room, two.from, two.to)
	}
}

// tell writes the line of a pair that is not connected, if both are still there.
func (d *callDoctor) tell(room, from, to string) {
	p, known := d.book.Pair(room, from, to)
	if !known || !d.serving() || !p.Peers[0].Gone.IsZero() || !p.Peers[1].Gone.IsZero() {
		return
	}
	d.examine(&p.Peers[0], &p.Peers[1])
	v := doctor.Diagnose(p, time.Now())
	if !v.Open(p) || !d.book.Tell(room, from, to) {
		return
	}
	codes := make([]string, len(v.Findings))
	for i, f := range v.Findings {
		codes[i] = f.Code
	}
	first := v.Findings[0]
	d.log.Info("two peers do not connect", "room", room, "peers", []string{from, to}, "stage", string(v.Stage),
		"findings", codes, "message", first.Message, "hint", first.Hint)
}

// allocated and refused take note of what became of TURN requests.

func (d *callDoctor) allocated(v turnsrv.Session) {
	d.book.Allocated(v.Label, doctor.Allocation{At: v.Created, Transport: v.Transport, Client: v.Client, Relay: v.Relay})
}

func (d *callDoctor) refused(v turnsrv.Refused) {
	r := doctor.Refusal{At: time.Now(), Transport: v.Transport, Method: v.Method, Code: v.Code, Reason: v.Reason, Rule: v.Rule, Denied: v.Denied}
	if v.Rule != "" {
		r.Reason = "peer denied by " + v.Rule // without its address
	}
	d.book.Refused(v.Label, r)
}

// examine adds what STUN and TURN know of peers.
func (s *server) examine(peers ...*doctor.Peer) {
	ids := make([]string, len(peers))
	for i, p := range peers {
		ids[i] = p.ID
		for at := range s.stun.senders {
			if ago, ok := s.visitor.LastHeard(p.Address, at); ok && time.Now().Add(-ago).After(p.Bound) {
				p.Bound = time.Now().Add(-ago)
			}
		}
		if p.Bound.Before(p.Joined) { // of somebody before it
			p.Bound = time.Time{}
		}
	}
	for _, v := range s.turn.SessionsOf(ids...) {
		for _, p := range peers {
			if p.ID == v.Label {
				p.Sessions = append(p.Sessions, doctor.Session{Transport: v.Transport, Relay: v.Relay, BytesIn: v.BytesIn, BytesOut: v.BytesOut})
			}
		}
	}
}

// diagnose answers GET /v1/rooms/{room}/doctor, to who may join the room or see
// it. Addresses are for the holder of the API key.
func (s *server) diagnose(w http.ResponseWriter, r *http.Request) {
	room := r.PathValue("room")
	grant, err := s.access.Check(r)
	if err == nil && grant.May(web.RightJoin, room) != nil && grant.May(web.RightList, room) != nil {
		err = &web.Error{Status: http.StatusForbidden, Code: "room_denied", Message: "the token does not give the right to join this room, or to see it",
			Hint: "Ask with a token for this room, with the right join or list, or with the API key."}
	}
	if err != nil {
		err.ServeHTTP(w, r)
		return
	}
	now := time.Now()
	peers, pairs := s.doctor.book.Room(room, now)
	if len(peers) == 0 {
		(&web.Error{Status: http.StatusNotFound, Code: "room_unknown", Message: fmt.Sprintf("nobody was seen in room %.64q lately", room),
			Hint: "The name is the one that peers join with. Rooms are remembered for ten minutes after the last peer has left."}).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(s.doctor.chart(room, peers, pairs, grant.Key, now)) // a client that went away is no matter
}
