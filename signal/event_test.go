package signal

import "testing"

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
