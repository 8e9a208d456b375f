//go:build linux

package nat

import (
	"slices"
	"testing"

	"turnkey/lab/need"
)

// internet is a world with every server that topologies name.
func internet(t *testing.T) *world {
	t.Helper()
	need.Programs(t, "tayga", "tc", "conntrack")
	// Where packets get lost, relays outlive who asked for them: many a run
	// takes many ports.
	ports := "TURNKEY_RELAY_PORTS=50000-59999"
	w := newWorld(t, ports)
	w.poor(t, ports)
	w.plain(t)
	w.throughIPv6(t)
	return w
}

func TestNattestNamesTheNAT(t *testing.T) {
	w := internet(t)
	for _, tt := range slices.Concat(topologies, tricks) {
		t.Run(tt.name, func(t *testing.T) {
			client := tt.place(t, w)
			t.Parallel()
			got := turnkey(t, client, apiKey, "nattest", "-json", tt.at())
			var r report
			got.decode(t, &r)
			tt.want.compare(t, got.exit, r)
			if t.Failed() {
				t.Logf("the report: %s", keep(t, got.out))
			}
			if limit := usual; tt.waits {
				got.within(t, blocked)
			} else {
				got.within(t, limit)
			}
		})
	}
}
