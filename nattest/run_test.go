package nattest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/vnet"
)

var rfc4787 = map[string]vnet.EndpointDependencyType{
	EndpointIndependent:     vnet.EndpointIndependent,
	AddressDependent:        vnet.EndpointAddrDependent,
	AddressAndPortDependent: vnet.EndpointAddrPortDependent,
}

func TestRunNamesEveryTypeOfNAT(t *testing.T) {
	relayFor := map[string]string{EndpointIndependent: unlikely, AddressDependent: required, AddressAndPortDependent: required}
	exitFor := map[string]int{unlikely: 0, required: 1}
	for mapping, m := range rfc4787 {
		for filtering, f := range rfc4787 {
			for name, addrs := range map[string][]string{"two addresses": {serverA, serverB}, "one address": {serverA}} {
				t.Run(mapping+"/"+filtering+"/"+name, func(t *testing.T) {
					l := lab{nat: &vnet.NATType{MappingBehavior: m, FilteringBehavior: f}, addrs: addrs}
					wantBehavior, wantRelay := mapping, relayFor[mapping]
					if len(addrs) == 1 && mapping != AddressAndPortDependent {
						wantBehavior, wantRelay = Unknown, unlikely // one address cannot tell these two apart
					}
					l.run(t, func(t *testing.T, c Config) {
						start := time.Now()
						r, err := Run(context.Background(), c)
						if err != nil {
							t.Fatal(err)
						}
						if got := r.V4.Mapping.Behavior; got != wantBehavior {
							t.Errorf("mapping: got %s, want %s", got, wantBehavior)
						}
						if !strings.Contains(strings.Join(r.V4.Mapping.Possible, " "), mapping) {
							t.Errorf("possible: got %v, want it to hold %s", r.V4.Mapping.Possible, mapping)
						}
						if r.Verdict.Relay != wantRelay || r.ExitCode() != exitFor[wantRelay] {
							t.Errorf("verdict: got %s, exit %d; want %s, exit %d", r.Verdict.Relay, r.ExitCode(), wantRelay, exitFor[wantRelay])
						}
						if r.V4.NAT != "yes" || r.V4.Mapped[0].Address.String() != natOuter {
							t.Errorf("got NAT %s, mapped %v; want yes, %s", r.V4.NAT, r.V4.Mapped, natOuter)
						}
						if r.TURN.State != "ok" || len(r.TURN.URLs) != 2 {
							t.Errorf("turn: got %+v, want both URLs ok", r.TURN)
						}
						if r.V6.UDP != "not_tested" || r.V6.Verdict.Relay != Unknown || r.V6.Mapping.Behavior != Unknown {
							t.Errorf("v6: got %s, %s, %s; want not_tested, unknown, unknown", r.V6.UDP, r.V6.Verdict.Relay, r.V6.Mapping.Behavior)
						}
						if took := time.Since(start); took > time.Second {
							t.Errorf("took %s, want less than a second", took)
						}
					})
				})
			}
		}
	}
}

func TestRunWithoutNAT(t *testing.T) {
	l := lab{}
	l.run(t, func(t *testing.T, c Config) {
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.V4.NAT != "no" || r.V4.Mapping.Behavior != EndpointIndependent || r.Verdict.Relay != unlikely {
			t.Errorf("got NAT %s, %s, %s; want no, %s, %s", r.V4.NAT, r.V4.Mapping.Behavior, r.Verdict.Relay, EndpointIndependent, unlikely)
		}
	})
}

func TestRunPortPreservingOneAddress(t *testing.T) {
	l := lab{nat: &vnet.NATType{Mode: vnet.NATModeNAT1To1}}
	l.run(t, func(t *testing.T, c Config) {
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		m := r.V4.Mapping
		if m.Behavior != EndpointIndependent || m.Level != "medium" || len(m.Caveats) == 0 || len(m.Possible) != 2 {
			t.Errorf("got %+v, want %s with medium confidence, a caveat and both possible", m, EndpointIndependent)
		}
	})
}

func TestRunUDPBlocked(t *testing.T) {
	udpDropped := func(vnet.Chunk) bool { return false }
	for name, tt := range map[string]struct {
		lab
		key      string
		turn     string
		wantExit int
	}{
		"TURN over TCP works": {lab: lab{}, turn: "ok", wantExit: 1},
		"TCP is closed too":   {lab: lab{noTCP: true}, turn: "failed", wantExit: 3},
		"no key":              {lab: lab{status: 401}, turn: "not_tested", wantExit: 4},
		"key":                 {lab: lab{status: 401}, key: "key", turn: "ok", wantExit: 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := tt.lab
			l.nat = &vnet.NATType{}
			l.filter = func(c vnet.Chunk) bool { // relay to relay passes inside the server
				return strings.HasPrefix(c.SourceAddr().String(), serverA) && strings.HasPrefix(c.DestinationAddr().String(), serverA) || udpDropped(c)
			}
			l.run(t, func(t *testing.T, c Config) {
				c.Host, c.Key = "server.test:8080", tt.key
				r, err := Run(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				if r.V4.UDP != "blocked" || r.Verdict.Relay != required || r.V4.Mapping.Behavior != Unknown {
					t.Errorf("got UDP %s, %s, mapping %s; want blocked, required, unknown", r.V4.UDP, r.Verdict.Relay, r.V4.Mapping.Behavior)
				}
				if r.TURN.State != tt.turn || r.ExitCode() != tt.wantExit {
					t.Errorf("got TURN %s (%s), exit %d; want %s, %d", r.TURN.State, r.TURN.Why, r.ExitCode(), tt.turn, tt.wantExit)
				}
			})
		})
	}
}

func TestRunKeyStaysOffPlainHTTP(t *testing.T) {
	l := lab{status: 401}
	l.run(t, func(t *testing.T, c Config) {
		c.Key = "key"
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.TURN.State != "not_tested" || !strings.Contains(r.TURN.Why, "name http://server.test:8080") {
			t.Errorf("got %s: %q, want the key not sent after https failed", r.TURN.State, r.TURN.Why)
		}
	})
}

func TestRunUnreachable(t *testing.T) {
	l := lab{noHTTP: true, filter: func(vnet.Chunk) bool { return false }}
	l.run(t, func(t *testing.T, c Config) {
		_, err := Run(context.Background(), c)
		var e *Error
		if !errors.As(err, &e) || e.ExitCode() != 5 {
			t.Errorf("got %v, want an *Error with exit code 5", err)
		}
	})
}

func TestRunWithoutHTTPStillNamesTheMapping(t *testing.T) {
	l := lab{noHTTP: true, nat: &vnet.NATType{}, addrs: []string{serverA, serverB}}
	l.run(t, func(t *testing.T, c Config) {
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.V4.Mapping.Behavior != EndpointIndependent || r.TURN.State != "not_tested" {
			t.Errorf("got %s, TURN %s; want %s, not_tested", r.V4.Mapping.Behavior, r.TURN.State, EndpointIndependent)
		}
	})
}

// With three packets in ten lost each way the probe may say less, but nothing
// wrong.
func TestRunLoss(t *testing.T) {
	for mapping, m := range rfc4787 {
		right := 0
		for seed := range uint64(12) {
			rng := rand.New(rand.NewPCG(seed, 1))
			l := lab{
				nat:    &vnet.NATType{MappingBehavior: m, FilteringBehavior: vnet.EndpointAddrPortDependent},
				addrs:  []string{serverA, serverB},
				filter: func(vnet.Chunk) bool { return rng.IntN(10) >= 3 },
			}
			l.run(t, func(t *testing.T, c Config) {
				start := time.Now()
				r, err := Run(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				switch got := r.V4.Mapping.Behavior; got {
				case mapping:
					right++
				case Unknown:
				default:
					t.Errorf("seed %d: got %s, want %s or unknown", seed, got, mapping)
				}
				if took := time.Since(start); took > 15*time.Second {
					t.Errorf("seed %d: took %s", seed, took)
				}
			})
		}
		if right < 11 {
			t.Errorf("%s: %d of 12 right, want 11 at least", mapping, right)
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

func TestRunCanceled(t *testing.T) {
	l := lab{filter: func(vnet.Chunk) bool { return false }}
	l.run(t, func(t *testing.T, c Config) {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := Run(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %s after being canceled", took)
		}
	})
}

// A firewall that drops https must not cost the seconds that its timeout takes.
func TestRunDoesNotWaitForDroppedHTTPS(t *testing.T) {
	l := lab{nat: &vnet.NATType{}}
	l.run(t, func(t *testing.T, c Config) {
		inner := c.DialContext
		c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasSuffix(addr, ":443") {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return inner(ctx, network, addr)
		}
		start := time.Now()
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > time.Second || r.Server.HTTP != "http://server.test:8080" {
			t.Errorf("took %s with %q, want less than a second with http", took, r.Server.HTTP)
		}
	})
}

// Two ways out of the machine are two NATs: only one of them is judged.
func TestRunKeepsToOneWayOut(t *testing.T) {
	l := lab{nat: &vnet.NATType{}, addrs: []string{serverA, serverB}}
	l.run(t, func(t *testing.T, c Config) {
		inner := c.DialContext
		c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if network == "udp4" && strings.HasPrefix(addr, serverB) {
				return pipeConn{Conn: nopCloser{}, local: &net.UDPAddr{IP: net.IPv4(10, 8, 0, 2), Port: 1}}, nil
			}
			return inner(ctx, network, addr)
		}
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.V4.Endpoints) != 2 || !strings.Contains(strings.Join(r.Verdict.Caveats, " "), "different local addresses") {
			t.Errorf("got %v, %v; want the endpoints of one address and a caveat", r.V4.Endpoints, r.Verdict.Caveats)
		}
	})
}

type nopCloser struct{ net.Conn }

func (nopCloser) Close() error { return nil }
