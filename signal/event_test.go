package signal

import (
	"slices"
	"testing"
)

// A peer chooses the members of what it sends, and so may try to speak for the server
// or for another, or to send what cannot be read.
func TestPeersDoNotSpeakForTheServer(t *testing.T) {
	m := decoded(t, `{"type":"message","peer":"p_b","data":1,"TYPE":"welcome","Peer":"p_c","Seq":9,"SEQ":9,"name":5,"code":{},"peers":"x","offer":[],"lastId":"x"}`)
	e, err := parseEvent(relayFrame(Note, "p_a", m.body))
	if err != nil || e.Type != "message" || e.Peer != "p_a" || e.seq != 0 || e.Name != "" || string(e.Data) != "1" {
		t.Errorf("got %+v, %v, want the message of p_a", e, err)
	}
	for _, bad := range []string{"", "1", "{}", `{"type":1}`, `{"peer":"p_a"}`} {
		if e, err := parseEvent([]byte(bad)); err == nil {
			t.Errorf("%s: got %+v, want an error", bad, e)
		}
	}
}

// Whatever a peer sends, its receiver takes it for what it is.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"type":"message","peer":"p_b","data":1,"TYPE":"welcome","Peer":"p_c","name":5}`))
	f.Add([]byte(`{"type":"candidate","peer":"p_b","candidate":null,"seq":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseEvent(b)
		m, err := Decode(b)
		if relayed := []Type{Offer, Answer, Candidate, Note, Restart, Request}; err != nil || !slices.Contains(relayed, m.Type) {
			return
		}
		e, bad := parseEvent(relayFrame(m.Type, "p_a", m.body))
		if bad != nil || e.Type != string(m.Type) || e.Peer != "p_a" || e.seq != 0 || e.Re != 0 {
			t.Errorf("%s became %+v, %v", b, e, bad)
		}
	})
}
