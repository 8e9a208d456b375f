package nattest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// timers is a NAT with two timers in front of the sockets of a lifetime test.
type timers struct {
	once, stream time.Duration
	first, last  map[int]time.Time // use of each socket's mapping
	reuse        bool              // the port of a mapping that is gone becomes the next socket's
	moves        bool              // socket 0 has another public address
	deaf         time.Duration     // from then on requests of socket 0 are lost
}

func (n *timers) pass(k packet, now time.Time) []arrival {
	at := outside(k.socket)
	if n.moves && k.socket == 0 {
		at = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.2"), at.Port())
	}
	if n.deaf > 0 && k.socket == 0 && now.Sub(began) > n.deaf {
		return nil
	}
	m := &stun.Message{Raw: k.raw}
	ok(m.Decode())
	answer := arrival{raw: answeredAt(k, at), from: ep1, socket: k.socket}
	port, err := m.Get(stun.AttrResponsePort)
	if err != nil {
		if n.first[k.socket].IsZero() {
			n.first[k.socket] = now
		}
		n.last[k.socket] = now
		return []arrival{answer}
	}
	answer.socket = int(port[0])<<8 + int(port[1]) - int(outside(0).Port())
	life := n.once
	if n.last[answer.socket].Sub(n.first[answer.socket]) > 2*time.Second {
		life = n.stream
	}
	if now.Sub(n.last[answer.socket]) > life {
		answer.socket++
		if !n.reuse {
			return nil
		}
	}
	return []arrival{answer}
}

func TestLifetimeTellsTheTimersApart(t *testing.T) {
	for name, tt := range map[string]struct {
		nat          timers
		state        string
		once, stream Timer
	}{
		"two timers":               {timers{once: 30 * time.Second, stream: 2 * time.Minute}, "measured", Timer{Alive: 29, Dead: 32.6}, Timer{Alive: 118, Dead: 124.6}},
		"ports are used again":     {timers{once: 30 * time.Second, stream: 2 * time.Minute, reuse: true}, "measured", Timer{Alive: 29, Dead: 32.6}, Timer{Alive: 118, Dead: 124.6}},
		"less than the first rung": {timers{once: time.Second, stream: time.Hour}, "measured", Timer{Dead: 2.6}, Timer{Alive: 150}},
		"another public address":   {timers{once: 30 * time.Second, stream: time.Hour, moves: true}, "measured", Timer{Alive: 29}, Timer{Alive: 150}},
		"the server falls silent":  {timers{once: time.Hour, stream: time.Hour, deaf: 30 * time.Second}, "measured", Timer{Alive: 29}, Timer{Alive: 25}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.nat.first, tt.nat.last = map[int]time.Time{}, map[int]time.Time{}
			m := newLifetime(began, ep1, 150*time.Second, requests, func(string) {})
			took := perform(t, m, tt.nat.pass)
			got := m.conclude()
			if got.State != tt.state || got.OneShot != tt.once || got.Stream != tt.stream {
				t.Errorf("got %+v, want %s, %+v and %+v", got, tt.state, tt.once, tt.stream)
			}
			if took > 160*time.Second {
				t.Errorf("took %s, want little more than 150 s", took)
			}
		})
	}
}
