package nattest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/vnet"
)

// Where packets get lost each way the probe may say less, but nothing wrong.
func TestRunLoss(t *testing.T) {
	seeds := uint64(6)
	if os.Getenv("LONG") != "" {
		seeds = 60
	}
	for _, percent := range []int{10, 30} {
		decided, runs, durations := 0, 0, []time.Duration{}
		nine(func(mapping, filtering string, nat vnet.NATType) {
			for seed := range seeds {
				var mu sync.Mutex
				source := rand.New(rand.NewPCG(seed, uint64(percent)))
				below := func(n int) int { // is called by whoever dials
					mu.Lock()
					defer mu.Unlock()
					return source.IntN(n)
				}
				nat := nat
				l := lab{
					nat: &nat, addrs: []string{serverA, serverB}[:1+seed%2],
					filter: func(vnet.Chunk) bool { return below(100) >= percent },
				}
				where := fmt.Sprintf("%s/%s, %d %% lost, seed %d", mapping, filtering, percent, seed)
				l.run(t, func(t *testing.T, c Config) {
					// HTTP suffers, too: its packets are sent again after seconds.
					inner := c.DialContext
					c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						if network == "tcp" && below(100) < percent {
							select {
							case <-time.After(time.Duration(below(1500)) * time.Millisecond):
							case <-ctx.Done():
								return nil, ctx.Err()
							}
						}
						return inner(ctx, network, addr)
					}
					r, err := Run(context.Background(), c)
					if err != nil {
						t.Fatal(err)
					}
					f := &r.V4
					relay, classic := truthOf(mapping, filtering)
					runs++
					if relay == r.Verdict.Relay {
						decided++
					}
					if mapping != EndpointIndependent && r.Verdict.Relay != Unknown && f.Filtering.Behavior != filtering {
						// A relay is needed; how badly depends on the filter.
						relay = map[bool]string{true: required, false: likely}[slices.Contains(f.Filtering.Possible, AddressAndPortDependent)]
					}
					for _, claim := range [][3]string{
						{"mapping", f.Mapping.Behavior, mapping}, {"filtering", f.Filtering.Behavior, filtering},
						{"relay", r.Verdict.Relay, relay}, {"disturbs", f.InboundDisturbs, "no"}, {"stable", f.Stable, "yes"}, {"classic", f.Classic, classic},
					} {
						if claim[1] != claim[2] && claim[1] != Unknown && claim[1] != NotTested && claim[1] != "" {
							t.Errorf("%s: got %s %s, want %s or unknown", where, claim[0], claim[1], claim[2])
						}
					}
					if !slices.Contains(f.Mapping.Possible, mapping) || !slices.Contains(f.Filtering.Possible, filtering) {
						t.Errorf("%s: got possible %v and %v", where, f.Mapping.Possible, f.Filtering.Possible)
					}
					took := time.Duration(r.DurationMS) * time.Millisecond
					durations = append(durations, took)
					if took > 5*time.Second {
						t.Errorf("%s: took %s", where, took)
					}
				})
			}
		})
		slices.Sort(durations)
		t.Logf("%d %% lost each way: %d of %d verdicts as if none were; half took %s, nine in ten %s, the slowest %s", percent, decided, runs,
			durations[runs/2], durations[runs*9/10], durations[runs-1])
		if 100*decided < 50*runs {
			t.Errorf("%d %% lost: got %d of %d verdicts", percent, decided, runs)
		}
	}
}

// A server, or somebody beside it, that answers first with lies: another
// transaction, another port, another address. Only the honest answer counts.
func TestRunIgnoresForeignAnswers(t *testing.T) {
	lie := &net.UDPAddr{IP: net.ParseIP("198.51.100.9"), Port: 9}
	l := lab{addrs: []string{serverA, serverB}, nat: &vnet.NATType{FilteringBehavior: vnet.EndpointIndependent}, noHTTP: true}
	l.answer = func(pc net.PacketConn, from net.Addr, req *stun.Message) {
		for _, other := range l.stuns {
			if other != pc {
				other.WriteTo(binding(req.TransactionID, lie).Raw, from) // right id, wrong source
			}
		}
		pc.WriteTo(binding(stun.NewTransactionID(), lie).Raw, from) // wrong id
		pc.WriteTo([]byte("hello"), from)
		pc.WriteTo(binding(req.TransactionID, from).Raw, from)
		pc.WriteTo(binding(req.TransactionID, lie).Raw, from) // a second, other answer
	}
	l.run(t, func(t *testing.T, c Config) {
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.V4.Mapping.Behavior != EndpointIndependent || len(r.V4.Mapped) != 1 || r.V4.Mapped[0].Address != netip.MustParseAddr(natOuter) {
			t.Errorf("got %s, mapped %v; want %s, only %s", r.V4.Mapping.Behavior, r.V4.Mapped, EndpointIndependent, natOuter)
		}
	})
}
