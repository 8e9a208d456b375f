package signal

import (
	"encoding/json"
	"slices"
)

// room decides who gets what. It does no I/O, takes no lock and reads no
// clock: each method is one event, and returns the deliveries that follow
// from it, in order. It has one owner at a time.
//
// A peer receives nothing of its own, nothing before its welcome, and nothing
// after it has left.
type room struct {
	name  string
	max   int
	peers []peer // in the order they came
}

type peer struct {
	id   string
	name string
	meta json.RawMessage
}

// delivery is a message for one peer. Several may share the frame.
type delivery struct {
	to    string
	frame []byte
}

// reason says why a peer left.
type reason string

const (
	leftBye     reason = "bye"     // it said so
	leftClosed  reason = "closed"  // its socket closed
	leftTimeout reason = "timeout" // it no longer answered pings
	leftSlow    reason = "slow"    // it did not keep up with the room
	leftKicked  reason = "kicked"  // it broke a limit
)

// join lets a peer in. The newcomer is the initiator towards every peer that
// is present and gives way to each when offers cross, so that of two peers
// exactly one offers first and exactly one is polite.
func (r *room) join(p peer, re int64, ice issued) ([]delivery, *Error) {
	if len(r.peers) >= r.max {
		return nil, errRoomFull(r.name, r.max)
	}
	present := make([]peerEntry, 0, len(r.peers))
	for _, q := range r.peers {
		present = append(present, peerEntry{q.id, q.name, q.meta, true, true})
	}
	ds := []delivery{{p.id, welcomeFrame(re, p.id, r.name, present, ice, r.max)}}
	ds = append(ds, r.toOthers(p.id, joinedFrame(p))...)
	r.peers = append(r.peers, p)
	return ds, nil
}

// relay passes a message on to the peer it names, or to all others.
func (r *room) relay(from string, m Message) ([]delivery, *Error) {
	if !r.has(from) {
		return nil, errNotJoined()
	}
	if m.Peer != Everyone && (m.Peer == from || !r.has(m.Peer)) {
		return nil, errNoPeer(m.Peer)
	}
	if m.body == nil && m.Type == Candidate {
		return nil, nil
	}
	frame := relayFrame(m.Type, from, m.body)
	if m.Peer == Everyone {
		return r.toOthers(from, frame), nil
	}
	return []delivery{{m.Peer, frame}}, nil
}

// leave takes a peer out. A peer that is not there has left already.
func (r *room) leave(id string, why reason) []delivery {
	if !r.has(id) {
		return nil
	}
	r.peers = slices.DeleteFunc(r.peers, func(p peer) bool { return p.id == id })
	return r.toOthers(id, leftFrame(id, why))
}

func (r *room) has(id string) bool {
	return slices.ContainsFunc(r.peers, func(p peer) bool { return p.id == id })
}

func (r *room) toOthers(id string, frame []byte) []delivery {
	ds := make([]delivery, 0, len(r.peers))
	for _, p := range r.peers {
		if p.id != id {
			ds = append(ds, delivery{p.id, frame})
		}
	}
	return ds
}
