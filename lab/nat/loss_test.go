//go:build linux

package nat

import (
	"fmt"
	"testing"

	"turnkey/lab/need"
)

// losing drops percent of all packets that a router passes, either way.
func losing(percent int) string {
	return filter("forward", fmt.Sprintf("numgen random mod 100 < %d drop", percent))
}

func TestNattestIsNotWrongWherePacketsGetLost(t *testing.T) {
	runs, losses := 3, []int{10}
	if need.Long() {
		runs, losses = 20, []int{10, 30}
	}
	w := newWorld(t)
	for _, tt := range []struct {
		name, rules string
		want        truth
	}{
		{"port preserving masquerade", masquerade, truth{relay: "unlikely", nat: "yes", behavior: eim}},
		{"fully random masquerade", symmetric, truth{exit: 1, relay: "required", nat: "yes", behavior: apdm}},
	} {
		for _, percent := range losses {
			t.Run(fmt.Sprintf("%s, %d percent", tt.name, percent), func(t *testing.T) {
				client := w.behind(t, tt.rules+losing(percent)).client
				t.Parallel()
				undecided := 0
				for range runs {
					got := turnkey(t, client, apiKey, "nattest", "-json", api)
					var r report
					got.decode(t, &r)
					want := tt.want
					if percent > 10 && r.Verdict.Relay == "unknown" {
						undecided++
						want = truth{exit: 4, relay: "unknown"}
					}
					if want.exit == 1 {
						want.exit = map[string]int{"ok": 1, "failed": 3, "not_tested": 4}[r.TURN.State]
					}
					if percent <= 10 && r.TURN.State == "failed" || r.TURN.State == "not_tested" && r.Server.HTTP != "" {
						t.Errorf("got TURN %s, want ok (or not tested, had HTTP been lost)", r.TURN.State)
					}
					want.compare(t, got.exit, r)
				}
				if 2*undecided > runs {
					t.Errorf("got no verdict in %d of %d runs, want one in most", undecided, runs)
				}
			})
		}
	}
}
