package doctor

import (
	"container/list"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of a book.
const (
	keep     = 10 * time.Minute // what is known of a peer after it left
	mostLeft = 32               // peers of a room that have left
	lookEach = time.Second      // between two looks at a pair that says it has failed
)

// Book keeps what was seen of peers that are in a room, or were lately. It is
// safe for concurrent use, and never waits for anything but its own lock.
type Book struct {
	most int // peers, and pairs

	mu    sync.Mutex
	rooms map[string]*room
	peers map[string]*entry // by id, which is the label of TURN credentials, too
	left  list.List         // of *entry, those that have left, the first in front
	pairs int
}

type room struct {
	name  string
	peers []*entry // in the order they came
	pairs map[[2]string]*pair
}

type entry struct {
	Peer
	room *room
	left *list.Element // nil: it is in the room
}

type pair struct {
	sides   [2]Side // as in the key, which is in order
	watched bool
	looked  time.Time // See has said that it has failed
	told    bool
}

// NewBook returns an empty book for as many peers, and as many pairs of them.
// What comes beyond is not kept.
func NewBook(peers int) *Book {
	return &Book{most: peers, rooms: map[string]*room{}, peers: map[string]*entry{}}
}

// See takes note of an event. It reports whether this is the moment from which a
// connection is awaited, which is once for each pair, and whether the event says
// that the connection has failed, which is worth a look once a second for each pair.
func (b *Book) See(e Event, now time.Time) (begun, failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e.What {
	case Joined:
		b.join(e, now)
		return false, false
	case Away, Back, Left:
		b.presence(e, now)
		return false, false
	}
	p, side := b.side(e)
	if p == nil {
		return false, false
	}
	if e.What == Parted {
		p.sides = [2]Side{}
		return false, false
	}
	side.see(e, now)
	begun = e.What == Offered && !p.watched
	p.watched = p.watched || begun
	failed = e.What == Reported && e.Report.State == "failed" && !p.told && now.Sub(p.looked) >= lookEach
	if failed {
		p.looked = now
	}
	return begun, failed
}

// Tell reports whether nobody was told of this pair yet, and takes note that
// somebody is now.
func (b *Book) Tell(roomName, from, to string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.rooms[roomName]
	if r == nil {
		return false
	}
	k, _ := key(from, to)
	p := r.pairs[k]
	if p == nil || p.told {
		return false
	}
	p.told = true
	return true
}

// Allocated takes note of an allocation made with a credential of label.
func (b *Book) Allocated(label string, a Allocation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.peers[label]; p != nil {
		p.Allocated = newest(p.Allocated, a, mostAllocations)
	}
}

// Refused takes note of a refused request with a credential of label. One that
// was refused for the same reason before is replaced.
func (b *Book) Refused(label string, r Refusal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.peers[label]
	if p == nil {
		return
	}
	r.Reason = clip(r.Reason)
	p.Refused = slices.DeleteFunc(p.Refused, func(o Refusal) bool { o.At = r.At; return o == r })
	p.Refused = newest(p.Refused, r, mostRefusals)
}

// Room returns what was seen in a room: the peers in the order they came, those
// that left lately among them, and every pair of peers that were in it at the
// same time. The result is a copy.
func (b *Book) Room(name string, now time.Time) (peers []Peer, pairs []Pair) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(now)
	r := b.rooms[name]
	if r == nil {
		return nil, nil
	}
	for i, p := range r.peers {
		peers = append(peers, p.copy())
		for _, q := range r.peers[:i] {
			if together(q.Peer, p.Peer) {
				pairs = append(pairs, r.pair(q, p))
			}
		}
	}
	return peers, pairs
}

// Pair returns what was seen of two peers of a room, and whether they are known.
func (b *Book) Pair(roomName, from, to string) (Pair, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, q := b.peers[from], b.peers[to]
	if p == nil || q == nil || p.room.name != roomName || q.room != p.room {
		return Pair{}, false
	}
	return p.room.pair(p, q), true
}

// together reports whether two peers, the older first, were in the room at once.
func together(old, young Peer) bool { return old.Gone.IsZero() || old.Gone.After(young.Joined) }

func (r *room) pair(p, q *entry) Pair {
	v := Pair{Peers: [2]Peer{p.copy(), q.copy()}}
	k, at := key(p.ID, q.ID)
	if known := r.pairs[k]; known != nil {
		v.Sides = [2]Side{known.sides[at].copy(), known.sides[1-at].copy()}
	}
	return v
}

func (p *entry) copy() Peer {
	v := p.Peer
	v.Allocated, v.Refused = slices.Clone(p.Allocated), slices.Clone(p.Refused)
	return v
}

func (s Side) copy() Side {
	s.Candidates.Addresses = slices.Clone(s.Candidates.Addresses)
	return s
}

// key names a pair, and says which of its sides is what a told b.
func key(a, b string) (k [2]string, at int) {
	if a < b {
		return [2]string{a, b}, 0
	}
	return [2]string{b, a}, 1
}

func (b *Book) join(e Event, now time.Time) {
	b.forget(now)
	if len(b.peers) >= b.most || b.peers[e.Peer] != nil {
		return
	}
	r := b.rooms[e.Room]
	if r == nil {
		r = &room{name: strings.Clone(e.Room), pairs: map[[2]string]*pair{}}
		b.rooms[r.name] = r
	}
	p := &entry{Peer: Peer{ID: e.Peer, Address: e.Address.Unmap(), Joined: now, TURN: e.TURN}, room: r}
	r.peers = append(r.peers, p)
	b.peers[p.ID] = p
	left := 0
	for i := len(r.peers) - 1; i >= 0; i-- {
		if !r.peers[i].Gone.IsZero() {
			left++
		}
		if left > mostLeft {
			b.remove(r.peers[i])
			return
		}
	}
}

func (b *Book) presence(e Event, now time.Time) {
	p := b.peers[e.Peer]
	if p == nil || p.room.name != e.Room {
		return
	}
	p.Away = e.What == Away
	if e.What == Left && p.left == nil {
		p.Gone, p.left = now, b.left.PushBack(p)
	}
	if e.What == Back {
		p.Address = e.Address.Unmap()
	}
}

// side returns what the event's peer has told the other, and the pair; nil if
// the two are not in one room, or there are too many pairs.
func (b *Book) side(e Event) (*pair, *Side) {
	p, q := b.peers[e.Peer], b.peers[e.To]
	if p == nil || q == nil || p == q || p.room != q.room || p.room.name != e.Room {
		return nil, nil
	}
	k, at := key(p.ID, q.ID)
	known := p.room.pairs[k]
	if known == nil {
		if b.pairs >= b.most {
			return nil, nil
		}
		known = new(pair)
		p.room.pairs[k] = known
		b.pairs++
	}
	return known, &known.sides[at]
}

// forget drops who left long ago. Who is still in a room costs it nothing.
func (b *Book) forget(now time.Time) {
	for e := b.left.Front(); e != nil && now.Sub(e.Value.(*entry).Gone) >= keep; e = b.left.Front() {
		b.remove(e.Value.(*entry))
	}
}

// remove drops a peer that has left.
func (b *Book) remove(p *entry) {
	b.left.Remove(p.left)
	r := p.room
	delete(b.peers, p.ID)
	r.peers = slices.DeleteFunc(r.peers, func(q *entry) bool { return q == p })
	for k := range r.pairs {
		if k[0] == p.ID || k[1] == p.ID {
			delete(r.pairs, k)
			b.pairs--
		}
	}
	if len(r.peers) == 0 {
		delete(b.rooms, r.name)
	}
}
