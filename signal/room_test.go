package signal

import (
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

// steps is a sequence of n random bytes.
func steps(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}
