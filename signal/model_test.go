package signal

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is what may be seen of a room from outside, whatever is done in it:
//
//  1. No delivery to self: nothing goes to who has sent it.
//  2. None after bye: nothing goes to who is not in the room, before its welcome or after it
//     left; and nothing is from such a one, but that it left.
//  3. None after the bye of a connection: an answer or a candidate that arrives belongs to
//     a description that has been passed on since.
//  4. Order per sender: of each kind, a receiver gets one sender's messages as they
//     were sent; each candidate after its description, in the order of those; and none twice.
//  5. Nothing is lost: what is passed on without an error goes to exactly those it is for.
//  6. Caps hold: of peers in a room, of candidates that wait for a description, of messages
//     that wait for who comes next; and what has gone leaves nothing behind.
//  7. Of each two peers exactly one is told to offer, and that one to give way.
type model struct {
	t     *testing.T
	limit int
	in    map[string]bool
	told  map[[2]string]int // who was told to offer to whom, how often
	kinds map[string]int    // of what was delivered
	pairs map[[2]string]*sight
}

// sight is what a receiver has seen of a sender.
type sight struct {
	newest map[string]int // number, by type, and of candidates by description
	desc   int            // the description that counts, 0 = none
}

type seen struct {
	Type, Peer, SDP string
	Data            int
	Peers           []peerEntry
	Initiator       bool
	Polite          bool
	Candidate       *struct{ Candidate, UsernameFragment string }
}

func (m *model) sight(from, to string) *sight {
	k := [2]string{from, to}
	if m.pairs[k] == nil {
		m.pairs[k] = &sight{newest: map[string]int{}}
	}
	return m.pairs[k]
}

// see checks what followed from one event. Joins are marked with who has come.
func (m *model) see(actor, joined string, ds []delivery) (all []seen) {
	for _, d := range ds {
		var f seen
		if err := json.Unmarshal(d.frame, &f); err != nil {
			m.t.Fatalf("%s: %v", d.frame, err)
		}
		all = append(all, f)
		m.kinds[f.Type]++
		own := f.Type == "welcome" || f.Type == "warning"
		if d.to == actor && joined == "" && !own || d.to == f.Peer && f.Type != "welcome" {
			m.t.Fatalf("%s went to its own sender, %s", d.frame, d.to)
		}
		if !m.in[d.to] {
			m.t.Fatalf("%s went to %s, who is not in the room", d.frame, d.to)
		}
		if f.Type == "peer-left" == m.in[f.Peer] && f.Type != "warning" {
			m.t.Fatalf("%s is of %s, who is in the room: %v", d.frame, f.Peer, m.in[f.Peer])
		}
		m.check(d, f)
	}
	return all
}

func (m *model) check(d delivery, f seen) {
	s := m.sight(f.Peer, d.to)
	rises := func(kind string, n int) {
		if last := s.newest[kind]; n <= last {
			m.t.Fatalf("%s saw %s %d of %s after %d", d.to, kind, n, f.Peer, last)
		}
		s.newest[kind] = n
	}
	switch f.Type {
	case "welcome":
		for _, p := range f.Peers {
			m.offers(d.to, p.ID, p.Initiator, p.Polite)
		}
	case "peer-joined":
		m.offers(d.to, f.Peer, f.Initiator, f.Polite)
	case "message":
		rises(f.Type, f.Data)
	case "offer", "answer":
		s.desc = numberOf(f.SDP, "o=- ")
		rises("description", s.desc)
	case "candidate":
		rises(f.Candidate.UsernameFragment, numberOf(f.Candidate.Candidate, "192.0.2.1 "))
		if of := numberOf(f.Candidate.UsernameFragment, "u"); of != s.desc {
			m.t.Fatalf("%s saw %s of description %d of %s, and %d counts", d.to, d.frame, of, f.Peer, s.desc)
		}
	case "bye":
		m.sight(f.Peer, d.to).desc, m.sight(d.to, f.Peer).desc = 0, 0
	}
}

// offers takes note of whether one is told to offer to another, and to give way.
func (m *model) offers(who, to string, initiator, polite bool) {
	if initiator != polite {
		m.t.Fatalf("%s is told to offer to %s, %v, and to give way, %v", who, to, initiator, polite)
	}
	if initiator {
		m.told[[2]string{who, to}]++
	} else {
		m.told[[2]string{who, to}] += 0
	}
}

// bounds checks what the room keeps.
func (m *model) bounds(r *room) {
	if len(r.peers) != len(m.in) || len(r.peers) > m.limit {
		m.t.Fatalf("got %d peers, want %d, and %d at most", len(r.peers), len(m.in), m.limit)
	}
	for k, d := range r.dialogs {
		if !m.in[k[0]] || !m.in[k[1]] || len(d.early) > earlyCandidates || d.bytes > earlyBytes || len(d.before) > 8 {
			m.t.Fatalf("%v is kept: %d candidates of %d bytes, %d generations", k, len(d.early), d.bytes, len(d.before))
		}
	}
	for from, e := range r.held {
		if !m.in[from] || len(e.messages) > heldCandidates+1 || e.bytes > heldBytesMost {
			m.t.Fatalf("of %s %d messages are held, with %d bytes", from, len(e.messages), e.bytes)
		}
	}
	for id := range r.waits {
		if !m.in[id] {
			m.t.Fatalf("%s waits, and has gone", id)
		}
	}
}

// The rules of model hold, whatever the order of events.
func TestRoomHoldsItsRules(t *testing.T) {
	kinds := map[string]int{}
	for seed := range runs(200, 20_000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := &model{t, 1 + rng.IntN(5), map[string]bool{}, map[[2]string]int{}, kinds, map[[2]string]*sight{}}
		r := newRoom(m.limit)
		now := time.Unix(0, 0)
		born, sent := 0, 0
		plans := map[[2]string]*plan{} // by sender and receiver
		anybody := func() string {
			if len(r.peers) > 0 && rng.IntN(8) > 0 {
				return r.peers[rng.IntN(len(r.peers))].id
			}
			return fmt.Sprint("p", rng.IntN(born+1))
		}
		for range 300 {
			actor, to := anybody(), anybody()
			sent++
			switch rng.IntN(20) {
			case 0, 1:
				born++
				id := fmt.Sprint("p", born)
				ds, err := r.join(peer{id: id, noRollback: rng.IntN(2) == 0}, Message{Wait: rng.IntN(2) == 0}, "", issued{}, now)
				if full := len(m.in) >= m.limit; full != (err != nil) {
					t.Fatalf("%d of %d in the room, join says %v", len(m.in), m.limit, err)
				}
				if err == nil {
					m.in[id] = true
				}
				m.see(id, id, ds)
			case 2:
				delete(m.in, actor)
				m.see(actor, "", r.leave(actor, leftBye))
			case 3:
				m.see(actor, "", r.setAway(actor, rng.IntN(2) == 0))
			case 4:
				now = now.Add(time.Duration(rng.IntN(40)) * time.Second)
			default:
				flood, pick := 1, rng.IntN(12)
				if rng.IntN(40) == 0 {
					flood = 100
				}
				if rng.IntN(8) == 0 {
					to = Next
				}
				for range flood {
					sent++
					k := [2]string{actor, to}
					if plans[k] == nil {
						plans[k] = new(plan)
					}
					msg := decoded(t, plans[k].message(rng, pick, to, sent))
					sent = max(sent, plans[k].desc) // so that numbers rise from plan to plan
					ds, err := r.relay(actor, msg, now)
					m.passed(actor, msg, m.see(actor, "", ds), err)
				}
			}
			m.bounds(r)
		}
		for k := range m.told {
			if back, ok := m.told[[2]string{k[1], k[0]}]; !ok || m.told[k]+back != 1 {
				t.Fatalf("seed %d: of %v %d and %d were told to offer", seed, k, m.told[k], back)
			}
		}
	}
	for _, kind := range []string{"welcome", "peer-joined", "peer-left", "peer-away", "peer-back", "message", "offer", "answer", "candidate", "bye", "warning"} {
		if kinds[kind] < 50 {
			t.Errorf("got %d of %s in all, which proves little", kinds[kind], kind)
		}
	}
}

// plan is what one has in mind for another.
type plan struct{ before, desc, next int } // the newest description, the one before it and the one to come

// message is one with number n, of the kind that was picked. Candidates are of the newest
// description, of the one to come, or of one before.
func (p *plan) message(rng *rand.Rand, pick int, to string, n int) string {
	switch pick {
	case 0, 1, 2, 3:
		p.before, p.desc, p.next = p.desc, max(p.next, p.desc+1, n), 0
		return describing([]Type{Offer, Answer}[rng.IntN(2)], to, p.desc)
	case 4, 5, 6:
		return trickling(to, p.desc, n)
	case 7:
		if p.next == 0 {
			p.next = max(p.desc, n) + 200 // it is not known when it comes
		}
		return trickling(to, p.next, n)
	case 8:
		return trickling(to, p.before, n)
	case 9:
		return fmt.Sprintf(`{"type":"bye","peer":%q}`, to)
	}
	if rng.IntN(3) == 0 {
		to = Everyone
	}
	return fmt.Sprintf(`{"type":"message","peer":%q,"data":%d}`, to, n)
}

// passed holds what went out against what was sent.
func (m *model) passed(actor string, msg Message, all []seen, err *Error) {
	all = slices.DeleteFunc(all, func(f seen) bool { return f.Type == "warning" })
	switch want := 1; {
	case err != nil || !m.in[actor]:
		if len(all) > 0 || err == nil {
			m.t.Fatalf("%s of %s, who is in: %v, was passed on, %v, with %v", msg.Type, actor, m.in[actor], all, err)
		}
	case msg.Peer == Everyone:
		want = len(m.in) - 1
		fallthrough
	case msg.Type == Note || msg.Type == Bye:
		if len(all) != want {
			m.t.Fatalf("%s to %s was passed on to %d, want %d", msg.Type, msg.Peer, len(all), want)
		}
	case (msg.Type == Offer || msg.Type == Answer) && msg.Peer != Next:
		if len(all) == 0 || all[0].Type != string(msg.Type) {
			m.t.Fatalf("%s to %s became %v", msg.Type, msg.Peer, all)
		}
	}
}
