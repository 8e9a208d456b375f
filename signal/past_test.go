package signal

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
)

func TestPastKeepsTheNewest(t *testing.T) {
	var p past
	key := func(n int) (k sessionKey) {
		binary.BigEndian.PutUint32(k[:], uint32(n))
		return k
	}
	p.add(key(0), 0)
	const more = 3
	for n := 1; n <= pastSessions+more; n++ {
		p.add(key(n), int64(n))
	}
	if len(p.last) != pastSessions || len(p.ring) != pastSessions {
		t.Fatalf("got %d and %d, want %d", len(p.last), len(p.ring), pastSessions)
	}
	for n, want := range map[int]int64{0: 0, 1: 0, more: 0, more + 1: more + 1, pastSessions + more: pastSessions + more} {
		if got := p.last[key(n)]; got != want {
			t.Errorf("session %d was handled up to %d, want %d", n, got, want)
		}
	}
}

// What arrives after the end of a session does not count as handled, so that the
// client sends it in the next one.
func TestNothingIsHandledAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSimulation(t, 1)
		c := w.add("a")
		c.app = &teller{t: t}
		w.connect(c)
		w.settle()
		one := c.line.session.Load()
		one.hub.mu.Lock()
		one.hub.end(one, leftKicked)
		one.hub.mu.Unlock()
		id, _ := c.send(Note, Everyone, map[string]any{"data": 1})
		w.arrive(c.line)
		if last, over := one.hub.over(one); !over || last >= id {
			t.Errorf("ended %v, handled up to %d, want true and less than %d", over, last, id)
		}
		w.stop()
	})
}
