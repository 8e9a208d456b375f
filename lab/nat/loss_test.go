//go:build linux

package nat

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"turnkey/lab/need"
	"turnkey/lab/netns"
)

// lose drops percent of all packets that come to a machine and of all that
// leave it. Those that leave go to an interface where nobody is: a rule that
// dropped them would tell who sends them.
func lose(t *testing.T, h *netns.Host, percent int) {
	t.Helper()
	for _, args := range []string{
		"link add lost0 type veth peer name lost1", "link set lost0 up arp off", "link set lost1 up arp off",
		"route add default dev lost0 table 99", "rule add fwmark 99 table 99",
		"-6 route add default dev lost0 table 99", "-6 rule add fwmark 99 table 99",
	} {
		h.Run("ip", strings.Fields(args)...)
	}
	chance := fmt.Sprintf("numgen random mod 100 < %d", percent)
	h.NFT("table inet loss {\nchain in {\ntype filter hook input priority -300\niifname != lo " + chance + " drop\n}\n" +
		"chain out {\ntype route hook output priority mangle\noifname != lo " + chance + " meta mark set 99\n}\n}\n")
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
	var mu sync.Mutex
	took := map[int][]time.Duration{}
	t.Run("topologies", func(t *testing.T) {
		for _, percent := range []int{10, 30} {
			for _, tt := range list {
				t.Run(fmt.Sprintf("%s, %d percent", tt.name, percent), func(t *testing.T) {
					client, forget := tt.put(t, w)
					lose(t, client, percent)
					t.Parallel()
					want, runs := tt.want, runs
					if want.unsure = true; tt.scarce {
						runs = 1
					}
					for range runs {
						if !tt.scarce {
							forget()
						}
						var r report
						got := turnkey(t, client, apiKey, "nattest", "-json", tt.at())
						got.decode(t, &r)
						mu.Lock()
						took[percent] = append(took[percent], got.took)
						mu.Unlock()
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
	for percent, d := range took {
		slices.Sort(d)
		t.Logf("%d percent: half took %s, nine in ten %s, the slowest %s", percent, d[len(d)/2], d[len(d)*9/10], d[len(d)-1])
	}
}

// lossyTime is how long nattest may take where packets get lost.
func lossyTime(tt topology) time.Duration { return blocked }
