package signal

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"turnkey/signal/doctor"
)

// As many clerks as there are messages at once, none of which waits for another,
// and few afterwards.
func TestClerksComeAndGo(t *testing.T) {
	const peers = 40
	var begun, gate chan struct{}
	observe := func(e doctor.Event) {
		if e.What == doctor.Reported {
			begun <- struct{}{}
			<-gate
		}
	}
	bubble(t, Config{PeersPerIP: peers, Observe: observe}, func(t *testing.T, s *Server, p pipes) {
		begun, gate = make(chan struct{}, peers), make(chan struct{})
		for i := range peers {
			c := pipeDial(t, p, false)
			defer c.CloseNow()
			for _, m := range []string{fmt.Sprintf(`{"type":"join","room":"r%d"}`, i), `{"type":"state","peer":"p_z","state":"new"}`} {
				if err := c.Write(t.Context(), websocket.MessageText, []byte(m)); err != nil {
					t.Fatal(err)
				}
			}
			if m, _, _ := read(t, c, time.Now()); m["type"] != "welcome" {
				t.Fatalf("got %v, want a welcome", m)
			}
		}
		synctest.Wait()
		if n := len(begun); n != peers {
			t.Errorf("%d of %d messages are being handled", n, peers)
		}
		close(gate)
		synctest.Wait()
		if n := s.clerks.idle.Load(); n != s.clerks.most {
			t.Errorf("%d clerks stay, want %d", n, s.clerks.most)
		}
	})
}
