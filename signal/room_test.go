package signal

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func newRoom(max int, ids ...string) *room {
	r := &room{name: "demo", max: max}
	for _, id := range ids {
		r.peers = append(r.peers, peer{id: id})
	}
	return r
}

func TestRoomDelivers(t *testing.T) {
	offer := decoded(t, describing(Offer, "b", 1))
	note := Message{Type: Note, Peer: Everyone, body: []byte(`,"data":1`)}
	for _, tt := range []struct {
		name string
		do   func(r *room) ([]delivery, *Error)
		want []string
		code string
	}{
		{"an offer goes to the peer named", func(r *room) ([]delivery, *Error) { return r.relay("a", offer, time.Time{}) },
			[]string{"b offer 1"}, ""},
		{"a message to all goes to the others", func(r *room) ([]delivery, *Error) { return r.relay("b", note, time.Time{}) },
			[]string{`a {"type":"message","peer":"b","data":1}`, `c {"type":"message","peer":"b","data":1}`}, ""},
		{"nothing goes to oneself", func(r *room) ([]delivery, *Error) { return r.relay("b", offer, time.Time{}) }, nil, "peer_not_found"},
		{"nothing goes to who is not there", func(r *room) ([]delivery, *Error) {
			return r.relay("a", Message{Type: Bye, Peer: "x"}, time.Time{})
		}, nil, "peer_not_found"},
		{"nothing comes from who is not there", func(r *room) ([]delivery, *Error) { return r.relay("x", offer, time.Time{}) }, nil, "not_joined"},
		{"an empty candidate goes nowhere", func(r *room) ([]delivery, *Error) {
			return r.relay("a", decoded(t, `{"type":"candidate","peer":"b","candidate":{"candidate":"","sdpMid":"0"}}`), time.Time{})
		}, nil, ""},
		{"the others hear who left and why", func(r *room) ([]delivery, *Error) { return r.leave("b", leftSlow), nil },
			[]string{`a {"type":"peer-left","peer":"b","reason":"slow"}`, `c {"type":"peer-left","peer":"b","reason":"slow"}`}, ""},
		{"who is not there does not leave", func(r *room) ([]delivery, *Error) { return r.leave("x", leftBye), nil }, nil, ""},
		{"a full room takes nobody", func(r *room) ([]delivery, *Error) {
			return r.join(peer{id: "d"}, Message{ID: 1}, "", issued{}, time.Time{})
		}, nil, "room_full"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ds, err := tt.do(newRoom(3, "a", "b", "c"))
			var got []string
			for _, d := range ds {
				got = append(got, d.to+" "+brief(d.frame))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if (err == nil) != (tt.code == "") || err != nil && err.Code != tt.code {
				t.Errorf("got error %v, want %q", err, tt.code)
			}
		})
	}
}

// model is what a room may do, from the outside: who is in, what each has seen.
type model struct {
	t    *testing.T
	in   map[string]bool
	last map[[2]string]int // newest number seen, by receiver and sender
	pair map[[2]string]int // who was told to offer to whom
}

// see checks one delivery against the rules that hold whatever happens.
func (m *model) see(actor string, d delivery) {
	m.t.Helper()
	var f struct {
		Type, Peer string
		Data       int
		Peers      []peerEntry
		Initiator  bool
	}
	if err := json.Unmarshal(d.frame, &f); err != nil {
		m.t.Fatalf("%s: %v", d.frame, err)
	}
	if !m.in[d.to] {
		m.t.Fatalf("%s went to %s, who is not in the room", d.frame, d.to)
	}
	if d.to == actor && f.Type != "welcome" || d.to == f.Peer && f.Type != "welcome" {
		m.t.Fatalf("%s went to its own sender", d.frame)
	}
	switch f.Type {
	case "welcome":
		if f.Peer != d.to {
			m.t.Fatalf("%s went to %s", d.frame, d.to)
		}
		for _, p := range f.Peers {
			if !p.Initiator || !p.Polite || !m.in[p.ID] {
				m.t.Fatalf("welcome %s names %s wrongly", d.frame, p.ID)
			}
			m.pair[[2]string{d.to, p.ID}]++
		}
	case "peer-joined":
		if f.Initiator {
			m.t.Fatalf("%s makes %s the initiator as well", d.frame, d.to)
		}
	case "message":
		k := [2]string{d.to, f.Peer}
		if f.Data <= m.last[k] {
			m.t.Fatalf("%s saw %d of %s after %d", d.to, f.Data, f.Peer, m.last[k])
		}
		m.last[k] = f.Data
	}
}

// Whatever the order of events: nobody receives anything of his own, before
// his welcome or after he left; each sender's messages stay in order; the cap
// holds; and of each two peers exactly one is told to offer.
func TestRoomHoldsItsRules(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		limit := 1 + rng.IntN(5)
		r := newRoom(limit)
		m := &model{t, map[string]bool{}, map[[2]string]int{}, map[[2]string]int{}}
		born, sent := 0, 0
		any := func() string { return fmt.Sprint("p", rng.IntN(born+1)) }
		for range 300 {
			actor := any()
			var ds []delivery
			switch rng.IntN(6) {
			case 0:
				born++
				actor = fmt.Sprint("p", born)
				var err *Error
				ds, err = r.join(peer{id: actor}, Message{}, "", issued{}, time.Time{})
				if full := len(m.in) >= limit; full != (err != nil) {
					t.Fatalf("%d of %d in the room, join says %v", len(m.in), limit, err)
				}
				if err == nil {
					m.in[actor] = true
				}
			case 1:
				delete(m.in, actor)
				ds = r.leave(actor, leftBye)
			default:
				sent++
				to := any()
				if rng.IntN(3) == 0 {
					to = Everyone
				}
				ds, _ = r.relay(actor, Message{Type: Note, Peer: to, body: fmt.Appendf(nil, `,"data":%d`, sent)}, time.Time{})
				if !m.in[actor] && ds != nil {
					t.Fatalf("%s is not in the room and was heard", actor)
				}
			}
			for _, d := range ds {
				m.see(actor, d)
			}
			if len(r.peers) != len(m.in) {
				t.Fatalf("got %d peers, want %d", len(r.peers), len(m.in))
			}
		}
		for k := range m.pair {
			if m.pair[k] != 1 || m.pair[[2]string{k[1], k[0]}] != 0 {
				t.Fatalf("pair %v was told to offer more than once, or both ways", k)
			}
		}
	}
}

// steps is a sequence of n random bytes.
func steps(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}
