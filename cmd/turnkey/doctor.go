package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"turnkey/signal/doctor"
	"turnkey/turnsrv"
	"turnkey/web"
)

const (
	doctorPeers = 1 << 15          // that the call doctor remembers
	patience    = 20 * time.Second // after an offer, before a line is logged
)

// seeRoom takes note of what happens between peers, and writes a line, once for
// each pair, if a connection is not made.
func (s *server) seeRoom(e doctor.Event) {
	begun, failed := s.book.See(e, time.Now())
	check := func() { s.tellOfPair(e.Room, e.Peer, e.To) }
	if begun {
		time.AfterFunc(patience, check)
	}
	if failed {
		go check() // the caller holds the room's lock
	}
}

func (s *server) tellOfPair(room, from, to string) {
	p, known := s.book.Pair(room, from, to)
	if !known || !s.ready.Load() || !p.Peers[0].Gone.IsZero() || !p.Peers[1].Gone.IsZero() {
		return
	}
	s.examine(&p.Peers[0], &p.Peers[1])
	v := doctor.Diagnose(p, time.Now())
	if !v.Open(p) || !s.book.Tell(room, from, to) {
		return
	}
	codes := make([]string, len(v.Findings))
	for i, f := range v.Findings {
		codes[i] = f.Code
	}
	first := v.Findings[0]
	s.log.Info("two peers do not connect", "room", room, "peers", []string{from, to}, "stage", string(v.Stage),
		"findings", codes, "message", first.Message, "hint", first.Hint)
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
		if p.Bound.Before(p.Joined.Add(-time.Minute)) { // of somebody before it, or of another page
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

// reason is why a request was refused, without addresses.
func reason(v turnsrv.Refused) string {
	if v.Rule != "" {
		return "peer denied by " + v.Rule
	}
	return v.Reason
}

// diagnose answers GET /v1/rooms/{room}/doctor, to who may join the room.
// Addresses are for the holder of the API key.
func (s *server) diagnose(w http.ResponseWriter, r *http.Request) {
	room := r.PathValue("room")
	grant, err := s.access.Check(r)
	if err == nil && (grant.Room != "" && grant.Room != room || !grant.Rights.Has(web.RightJoin) && !grant.Rights.Has(web.RightList)) {
		err = &web.Error{Status: http.StatusForbidden, Code: "room_denied", Message: "the token does not give the right to join this room, or to see it",
			Hint: "Ask with a token for this room, with the right join or list, or with the API key."}
	}
	if err != nil {
		err.ServeHTTP(w, r)
		return
	}
	now := time.Now()
	peers, pairs := s.book.Room(room, now)
	if len(peers) == 0 {
		(&web.Error{Status: http.StatusNotFound, Code: "room_unknown", Message: fmt.Sprintf("nobody was seen in room %.64q lately", room),
			Hint: "The name is the one that peers join with. Rooms are remembered for ten minutes after the last peer has left."}).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(s.chart(room, peers, pairs, grant.Key, now)) // a client that went away is no matter
}

// chart is the document that the endpoint answers with.
type chart struct {
	Room  string      `json:"room"`
	At    time.Time   `json:"at"`
	Peers []chartPeer `json:"peers"`
	Pairs []chartPair `json:"pairs"`
}

type chartPeer struct {
	ID          string            `json:"id"`
	Joined      time.Time         `json:"joined"`
	Left        *time.Time        `json:"left,omitempty"`
	Away        bool              `json:"away,omitempty"`
	Address     *netip.Addr       `json:"address,omitempty"`
	Binding     *time.Time        `json:"binding,omitempty"`
	Allocations []chartAllocation `json:"allocations,omitempty"`
	Refused     []chartRefusal    `json:"refused,omitempty"`
	Sessions    []chartSession    `json:"sessions,omitempty"`
}

type chartAllocation struct {
	At        time.Time       `json:"at"`
	Transport string          `json:"transport"`
	Client    *netip.AddrPort `json:"client,omitempty"`
	Relay     *netip.AddrPort `json:"relay,omitempty"`
}

type chartRefusal struct {
	At        time.Time   `json:"at"`
	Method    string      `json:"method"`
	Transport string      `json:"transport"`
	Code      int         `json:"code"`
	Reason    string      `json:"reason"`
	Peer      *netip.Addr `json:"peer,omitempty"`
}

type chartSession struct {
	Transport string          `json:"transport"`
	Relay     *netip.AddrPort `json:"relay,omitempty"`
	BytesIn   uint64          `json:"bytesIn"`
	BytesOut  uint64          `json:"bytesOut"`
}

type chartPair struct {
	Peers [2]string `json:"peers"`
	doctor.Verdict
	Sides [2]chartSide `json:"sides"`
}

type chartSide struct {
	Offered    *time.Time     `json:"offered,omitempty"`
	Answered   *time.Time     `json:"answered,omitempty"`
	Restarts   int            `json:"restarts,omitempty"`
	Candidates map[string]int `json:"candidates,omitempty"` // by type, those that were passed on; held and dropped
	End        bool           `json:"endOfCandidates,omitempty"`
	Refused    *doctor.Fault  `json:"refused,omitempty"`
	Report     *doctor.Report `json:"report,omitempty"`
}

func (s *server) chart(room string, peers []doctor.Peer, pairs []doctor.Pair, addresses bool, now time.Time) chart {
	c := chart{Room: room, At: now.UTC().Truncate(time.Second), Peers: make([]chartPeer, len(peers)), Pairs: make([]chartPair, len(pairs))}
	known, all := map[string]*doctor.Peer{}, make([]*doctor.Peer, len(peers))
	for i := range peers {
		all[i], known[peers[i].ID] = &peers[i], &peers[i]
	}
	s.examine(all...)
	for i, p := range peers {
		c.Peers[i] = charted(p, addresses)
	}
	for i, p := range pairs {
		p.Peers = [2]doctor.Peer{*known[p.Peers[0].ID], *known[p.Peers[1].ID]}
		c.Pairs[i] = chartPair{[2]string{p.Peers[0].ID, p.Peers[1].ID}, doctor.Diagnose(p, now), [2]chartSide{sideOf(p.Sides[0]), sideOf(p.Sides[1])}}
	}
	return c
}

func charted(p doctor.Peer, addresses bool) chartPeer {
	c := chartPeer{ID: p.ID, Joined: second(p.Joined), Left: when(p.Gone), Away: p.Away, Address: shown(addresses, p.Address), Binding: when(p.Bound)}
	for _, a := range p.Allocated {
		c.Allocations = append(c.Allocations, chartAllocation{second(a.At), a.Transport, shown(addresses, a.Client), shown(addresses, a.Relay)})
	}
	for _, r := range p.Refused {
		c.Refused = append(c.Refused, chartRefusal{second(r.At), r.Method, r.Transport, r.Code, r.Reason, shown(addresses && r.Denied.IsValid(), r.Denied)})
	}
	for _, v := range p.Sessions {
		c.Sessions = append(c.Sessions, chartSession{v.Transport, shown(addresses, v.Relay), v.BytesIn, v.BytesOut})
	}
	return c
}

func sideOf(s doctor.Side) chartSide {
	c := chartSide{Offered: when(s.Offered), Answered: when(s.Answered), Restarts: s.Restarts, End: s.Candidates.End}
	for name, n := range map[string]int{"host": s.Candidates.Host, "srflx": s.Candidates.Srflx, "prflx": s.Candidates.Prflx,
		"relay": s.Candidates.Relay, "held": s.Candidates.Held, "dropped": s.Candidates.Dropped} {
		if n > 0 && c.Candidates == nil {
			c.Candidates = map[string]int{}
		}
		if n > 0 {
			c.Candidates[name] = n
		}
	}
	if s.Fault.Code != "" {
		c.Refused = &s.Fault
	}
	if s.Report.State != "" {
		c.Report = &s.Report
	}
	return c
}

// shown returns v if it may be seen.
func shown[T any](may bool, v T) *T {
	if !may {
		return nil
	}
	return &v
}

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func when(t time.Time) *time.Time { return shown(!t.IsZero(), second(t)) }
