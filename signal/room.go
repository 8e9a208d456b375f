package signal

import (
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"turnkey/signal/doctor"
)

// room decides who gets what. It does no I/O, takes no lock and reads no
// clock of its own: each method is one event, and returns the deliveries that follow
// from it, in order. It has one owner at a time.
//
// A peer receives nothing of its own, nothing before its welcome, and nothing
// after it has left; what one sender sends to it comes in order and once; and all
// that is kept is bounded. A test has these rules in full, as a model.
type room struct {
	name  string
	max   int
	peers []peer // in the order they came

	waits map[string]bool      // peers that may send to whoever comes next
	held  map[string]*envelope // what they have sent, by sender

	dialogs map[[2]string]*dialog // by sender and receiver
	talks   bool                  // peers send each other messages of their own, and may want no more

	seen func(doctor.Event) // as Config.Observe
}

type peer struct {
	id   string
	name string
	meta json.RawMessage
	away bool // it has no socket and may come back
	addr netip.Addr

	met []peerEntry // as its welcome has them, while it may have to come again

	noRollback bool // it cannot take an offer back
	relays     bool // it was given TURN servers
}

// delivery is a message for one peer. Several may share the frame.
type delivery struct {
	to string
	parcel
}

// reason says why a peer left.
type reason string

const (
	leftBye     reason = "bye"     // it said so
	leftClosed  reason = "closed"  // its socket closed
	leftTimeout reason = "timeout" // it no longer answered pings, or did not come back
	leftSlow    reason = "slow"    // it did not keep up with the room
	leftKicked  reason = "kicked"  // it broke a limit, or was put out
)

// join lets a peer in. The newcomer is the initiator towards every peer that
// is present and gives way to each when offers cross, so that of two peers
// exactly one offers first and exactly one is polite. From who has left an offer
// for whoever comes, the newcomer gets that, and is not the initiator.
func (r *room) join(p peer, m Message, resume string, ice issued, now time.Time) ([]delivery, *Error) {
	if len(r.peers) >= r.max {
		return nil, errRoomFull(r.name, r.max)
	}
	present := make([]peerEntry, 0, len(r.peers))
	var told, offers []delivery
	before := r.peers
	r.peers = append(r.peers, p)
	r.tell(doctor.Event{What: doctor.Joined, Peer: p.id, Address: p.addr, TURN: p.relays})
	for _, q := range before {
		held := r.takeHeld(q.id, p.id, now)
		offers = append(offers, held...)
		offered := len(held) > 0
		present = append(present, peerEntry{q.id, q.name, q.meta, q.away, !offered, !offered})
		told = append(told, delivery{q.id, parcel{frame: joinedFrame(p, offered)}})
	}
	if m.Wait {
		if r.waits == nil {
			r.waits = map[string]bool{}
		}
		r.waits[p.id] = true
	}
	r.peer(p.id).met = present
	welcome := delivery{p.id, parcel{frame: r.welcome(p.id, m, resume, ice)}}
	if m.Nonce == "" {
		r.peer(p.id).met = nil
	}
	return slices.Concat([]delivery{welcome}, offers, told), nil
}

// welcome is the first word to a peer, which was let in or joins once more because
// that has not arrived: who was there when it came, though others may be by now.
// What happened since follows.
func (r *room) welcome(id string, m Message, resume string, ice issued) []byte {
	return welcomeFrame(m.ID, id, r.name, resume, r.peer(id).met, ice, r.max)
}

// relay passes a message on to the peer it names, or to all others.
func (r *room) relay(from string, m Message, now time.Time) ([]delivery, *Error) {
	if !r.has(from) {
		return nil, errNotJoined()
	}
	ds, err := r.pass(from, m, now)
	for _, n := range m.notes {
		ds = append(ds, delivery{from, parcel{frame: ofFault(&n).answering(m.ID).warning()}})
	}
	return ds, err
}

// pass decides who gets a message.
func (r *room) pass(from string, m Message, now time.Time) ([]delivery, *Error) {
	if m.Peer == Next {
		return r.hold(from, m, now)
	}
	if m.Peer != Everyone && (m.Peer == from || !r.has(m.Peer)) {
		return nil, errNoPeer(m.Peer)
	}
	if m.body == nil && m.Type == Candidate {
		return nil, nil
	}
	switch m.Type {
	case Offer, Answer:
		return r.describe(from, m)
	case Candidate:
		ds, warn, err := r.trickle(from, m)
		if warn != nil {
			ds = append(ds, delivery{from, parcel{frame: warn.answering(m.ID).warning()}})
		}
		return ds, err
	case Bye:
		r.forgetDialogs(from, m.Peer)
		r.tell(doctor.Event{What: doctor.Parted, Peer: from, To: m.Peer})
	}
	p := parcel{relayFrame(m.Type, from, m.body), from, m.ID}
	if m.Type == Note {
		r.talks = true
	}
	if m.Peer == Everyone {
		return r.toOthers(from, p), nil
	}
	return []delivery{{m.Peer, p}}, nil
}

// update changes what the others see of a peer.
func (r *room) update(id string, m Message) ([]delivery, *Error) {
	for i := range r.peers {
		p := &r.peers[i]
		if p.id != id {
			continue
		}
		if m.named {
			p.name = m.Name
		}
		if m.Meta != nil {
			p.meta = m.Meta
		}
		return r.toOthers(id, parcel{frame: updateFrame(*p)}), nil
	}
	return nil, errNotJoined()
}

// setAway takes note that a peer has lost its socket, or has one again.
func (r *room) setAway(id string, away bool) []delivery {
	for i := range r.peers {
		if p := &r.peers[i]; p.id == id && p.away != away {
			p.away = away
			if away {
				r.tell(doctor.Event{What: doctor.Away, Peer: id})
			}
			return r.toOthers(id, parcel{frame: presenceFrame(id, away)})
		}
	}
	return nil
}

// leave takes a peer out. A peer that is not there has left already.
func (r *room) leave(id string, why reason) []delivery {
	if !r.has(id) {
		return nil
	}
	r.peers = slices.DeleteFunc(r.peers, func(p peer) bool { return p.id == id })
	delete(r.waits, id)
	delete(r.held, id)
	r.forgetDialogs(id, "")
	r.tell(doctor.Event{What: doctor.Left, Peer: id})
	return r.toOthers(id, parcel{frame: leftFrame(id, why)})
}

// peer returns a peer that is in the room.
func (r *room) peer(id string) *peer {
	return &r.peers[slices.IndexFunc(r.peers, func(p peer) bool { return p.id == id })]
}

func (r *room) has(id string) bool {
	return slices.ContainsFunc(r.peers, func(p peer) bool { return p.id == id })
}

func (r *room) toOthers(id string, what parcel) []delivery {
	ds := make([]delivery, 0, len(r.peers))
	for _, p := range r.peers {
		if p.id != id {
			ds = append(ds, delivery{p.id, what})
		}
	}
	return ds
}
