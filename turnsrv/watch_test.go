package turnsrv

import (
	"sync"
	"testing"

	"github.com/pion/stun/v3"
)

func TestWatchIsToldWhatBecomesOfRequests(t *testing.T) {
	var mu sync.Mutex
	var made []Session
	var refused []Refused
	f := start(t, func(c *Config) {
		c.Watch.Allocated = func(s Session) { mu.Lock(); made = append(made, s); mu.Unlock() }
		c.Watch.Refused = func(r Refused) { mu.Lock(); refused = append(refused, r); mu.Unlock() }
	})
	w := f.wire(t, "udp").challenge()
	w.allocate()
	if got := code(w.call(stun.MethodAllocate, udpTransport)); got != 437 {
		t.Fatalf("a second Allocate: got %d, want 437", got)
	}
	if got := code(w.call(stun.MethodCreatePermission, peerAttr("10.1.2.3:5"))); got != 403 {
		t.Fatalf("a permission for a private address: got %d, want 403", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(refused) != 2 || refused[1].Rule != "10.0.0.0/8 (private)" || refused[1].Denied.String() != "10.1.2.3" || refused[0].Rule != "" {
		t.Fatalf("got %+v, want a permission refused by a rule at last", refused)
	}
	if refused = refused[:1]; len(made) != 1 {
		t.Fatalf("got %+v and %+v, want one of each", made, refused)
	}
	s, r := made[0], refused[0]
	if got := f.SessionsOf("nobody", "tester"); len(got) != 1 || got[0].Relay != s.Relay || len(f.SessionsOf("nobody")) != 0 {
		t.Errorf("got the sessions %+v of tester, want the one from %s", got, s.Client)
	}
	if s.Label != "tester" || s.Transport != "udp" || s.Client != addrPort(w.LocalAddr()) || s.Server != addrPort(w.RemoteAddr()) {
		t.Errorf("got session %+v, want that of tester from %s to %s", s, w.LocalAddr(), w.RemoteAddr())
	}
	if r.Label != "tester" || r.Method != "Allocate" || r.Code != 437 || r.Client != s.Client || r.Reason == "" {
		t.Errorf("got refusal %+v", r)
	}
}
