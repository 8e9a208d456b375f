//go:build linux

package nat

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"turnkey/lab/need"
)

// losing drops percent of all packets that come to a machine and of all that
// leave it; what it tells itself passes.
func losing(percent int) string {
	drop := fmt.Sprintf("numgen random mod 100 < %d drop", percent)
	return "table inet loss {\nchain in {\ntype filter hook input priority -300\niifname != lo " + drop +
		"\n}\nchain out {\ntype filter hook output priority -300\noifname != lo " + drop + "\n}\n}\n"
}

// Where packets get lost the probe may know less. It may not be wrong.
func TestNattestIsNotWrongWherePacketsGetLost(t *testing.T) {
	w := internet(t)
	runs, list := 2, []topology{}
	for _, tt := range topologies {
		if need.Long() || tt.lossy {
			list = append(list, tt)
		}
	}
	if need.Long() {
		runs, list = 20, slices.Concat(list, tricks)
	}
	table := newGrades()
	t.Run("topologies", func(t *testing.T) {
		for _, percent := range []int{10, 30} {
			for _, tt := range list {
				t.Run(fmt.Sprintf("%s, %d percent", tt.name, percent), func(t *testing.T) {
					client := tt.place(t, w)
					client.NFT(losing(percent))
					t.Parallel()
					want := tt.want
					want.unsure = true
					for range runs {
						var r report
						got := turnkey(t, client, apiKey, "nattest", "-json", tt.at())
						got.decode(t, &r)
						if got.exit == 5 { // nothing came back at all
							table.add(tt.name, fmt.Sprint(percent), "open")
							continue
						}
						verdict := "right"
						switch wrong := want.wrong(got.exit, r); {
						case len(wrong) > 0:
							verdict = "wrong"
							t.Errorf("%v: %s", wrong, keep(t, got.out))
						case r.undecided() && tt.want.wrong(got.exit, r) != nil:
							verdict = "open"
						}
						table.add(tt.name, fmt.Sprint(percent), verdict)
						got.within(t, lossyTime(tt))
					}
				})
			}
		}
	})
	table.log(t, "10", "30")
}

// lossyTime is how long nattest may take where packets get lost.
func lossyTime(tt topology) time.Duration { return blocked }
