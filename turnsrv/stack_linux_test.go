//go:build linux && !race

package turnsrv

import (
	"runtime"
	"testing"
)

// An allocation that is held costs 2 kB of stack, not 4: the difference is a
// sixth of all that it costs.
func TestRelayWaitsOnASmallStack(t *testing.T) {
	f := start(t, func(c *Config) { c.Limits = &Limits{} })
	hold := func(n int) uint64 {
		for range n {
			f.wire(t, "udp").challenge().allocate()
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.StackInuse
	}
	before := hold(200) // the runtime gives new goroutines the stack that those before have needed on the average
	const held = 150
	if each := float64(hold(held)-before) / held; each > 2800 {
		t.Errorf("got %.0f bytes of stack for each allocation, want some 2048", each)
	}
}
