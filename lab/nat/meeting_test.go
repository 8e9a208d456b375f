//go:build linux

package nat

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"turnkey/lab/need"
	"turnkey/lab/netns"
)

// met is what nattest -pair says, as far as it is judged here.
type met struct {
	Prediction struct{ Prediction, Reason string }
	Direct     connection
	Relay      *connection
	Agrees     string
}

type connection struct {
	Connected               bool
	Local, Remote, Protocol string
	Reason                  string
}

// meetings are the pairs that the short form lets meet, with the exit code of
// both sides.
var meetings = map[string]int{
	"EIM/APDF and EIM/APDF": 0, "EIM/APDF and open": 0, "APDM/APDF and EIM/EIF": 0,
	"APDM/APDF and EIM/APDF": 1, "APDM/APDF and APDM/APDF": 1, "no UDP and EIM/APDF": 1,
}

// Two machines that meet by a code: both see the same, a relay connects them
// where nothing else does, and it is as predicted.
func TestMachinesMeetByACode(t *testing.T) {
	w := newWorld(t)
	clients := map[string]*netns.Host{}
	agreed, differed := 0, 0
	var mu sync.Mutex
	t.Run("pairs", func(t *testing.T) {
		for i, a := range peerKinds {
			for j, b := range peerKinds[:i+1] {
				name := a.name + " and " + b.name
				exit, told := meetings[name]
				if !need.Long() && !told {
					continue
				}
				for _, k := range []struct {
					side  string
					place place
				}{{"A " + a.name, a.place}, {"B " + b.name, b.place}} {
					if clients[k.side] == nil {
						clients[k.side] = k.place(t, w)
					}
				}
				one, other := clients["A "+a.name], clients["B "+b.name]
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					got := meet(t, one, other, fmt.Sprintf("code%d%d", i, j))
					if told && got.exit != exit {
						t.Errorf("got exit code %d, want %d", got.exit, exit)
					}
					mu.Lock()
					defer mu.Unlock()
					if got.Agrees == "no" {
						differed++
						if !chance(t.Name()) {
							t.Errorf("predicted %s, because: %s Tried: %+v", got.Prediction.Prediction, got.Prediction.Reason, got.Direct)
						}
					} else {
						agreed++
					}
				})
			}
		}
	})
	t.Logf("%d meetings as predicted or without a prediction, %d not", agreed, differed)
}

// chance reports whether it is chance that two connect: whose packet is first, where
// a router takes strangers' packets, or which address a flow gets from a pool.
func chance(pair string) bool {
	return strings.Contains(pair, "disturbed") || strings.Contains(pair, "pool")
}

type meeting struct {
	met
	exit int
}

// meet runs nattest on both machines with one code, and wants the same of both.
func meet(t *testing.T, one, other *netns.Host, code string) meeting {
	t.Helper()
	var results [2]meeting
	var sides sync.WaitGroup
	for i, h := range []*netns.Host{one, other} {
		sides.Go(func() {
			r := turnkeyAtLeisure(t, h, apiKey, "nattest", "-json", "-pair", code, both)
			r.decode(t, &results[i].met)
			results[i].exit = r.exit
		})
	}
	sides.Wait()
	a, b := results[0], results[1]
	if a.exit != b.exit || a.Direct.Connected != b.Direct.Connected || a.Direct.Local != b.Direct.Remote || a.Agrees != b.Agrees {
		t.Errorf("the two sides differ:\n%+v\n%+v", a, b)
	}
	switch relayed := a.Relay != nil && a.Relay.Connected && (a.Relay.Local == "relay" || a.Relay.Remote == "relay"); {
	case a.Direct.Connected || relayed:
	case chance(t.Name()) && a.Relay != nil && a.Relay.Connected && a.exit == 0: // directly, the second time
	default:
		t.Errorf("got %+v and exit code %d where nothing is direct, want a relay to connect them", a.Relay, a.exit)
	}
	return a
}
