package nattest

import (
	"context"
	"strings"
	"testing"

	"github.com/pion/transport/v4/vnet"
)

// Check measures what the way does to packets of channels.
func TestCheckMeasures(t *testing.T) {
	n := 0
	channels := func(c vnet.Chunk) bool { // to the server
		b := c.UserData()
		return len(b) > 4 && b[0] == 0x40 && !strings.HasPrefix(c.SourceAddr().String(), serverA+":")
	}
	for name, tt := range map[string]struct {
		drop      func(size int) bool // of ChannelData
		state, in string
		judge     func(m *Measured) bool
	}{
		"all is well": {drop: func(int) bool { return false }, state: "ok", judge: func(m *Measured) bool {
			return m.Received == 50 && m.Loss == 0 && m.P50MS > 0 && m.P95MS >= m.P50MS && m.OfferedBPS > 1_900_000 && m.OfferedBPS <= offeredBPS && m.ThroughputBPS == m.OfferedBPS
		}},
		"every third is lost": {drop: func(int) bool { n++; return n%3 == 0 }, state: "failed", in: "of 50 packets got lost", judge: func(m *Measured) bool {
			return m.Loss > 0.3 && m.Loss < 0.36
		}},
		"long ones are lost": {drop: func(size int) bool { return size > 1300 }, state: "warning", in: "black hole", judge: func(m *Measured) bool {
			return m.Loss == 0 && m.Datagrams[0].State == "ok" && m.Datagrams[1].State == "failed" && m.Datagrams[2].State == "failed"
		}},
		"full ones are lost": {drop: func(size int) bool { return size >= 1200 }, state: "failed", in: "1280 bytes", judge: func(m *Measured) bool {
			return m.Loss == 0 && m.ThroughputBPS == 0
		}},
		"many are lost": {drop: func(size int) bool { n++; return size > 1000 && n%4 != 0 }, state: "warning", in: "TURNKEY_BANDWIDTH_PER_ALLOCATION", judge: func(m *Measured) bool {
			return m.Loss == 0 && m.ThroughputBPS > 0 && m.ThroughputBPS < offeredBPS/3
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n = 0
			l := lab{nat: &vnet.NATType{}, filter: func(c vnet.Chunk) bool { return !channels(c) || !tt.drop(len(c.UserData())) }}
			l.run(t, func(t *testing.T, c Config) {
				r, err := Check(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				for _, it := range r.Checks {
					if it.Name != "turn" {
						continue
					}
					m := it.TURN.Measured
					if m == nil {
						t.Fatalf("%s: got nothing measured", it.Target)
					}
					if strings.HasSuffix(it.Target, "tcp") {
						if it.State != "ok" || m.Datagrams != nil {
							t.Errorf("%s: got %s, %+v, want ok and no datagrams", it.Target, it.State, m)
						}
						continue
					}
					if it.State != tt.state || !strings.Contains(it.Reason+"; "+it.Hint, tt.in) || !tt.judge(m) {
						t.Errorf("%s: got %s (%s; %s), %+v; want %s with %q", it.Target, it.State, it.Reason, it.Hint, *m, tt.state, tt.in)
					}
				}
			})
		})
	}
}
