package nattest

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/transport/v4/vnet"
)

var rfc4787 = map[string]vnet.EndpointDependencyType{
	EndpointIndependent:     vnet.EndpointIndependent,
	AddressDependent:        vnet.EndpointAddrDependent,
	AddressAndPortDependent: vnet.EndpointAddrPortDependent,
}

// nine calls f with every type of NAT of RFC 4787.
func nine(f func(mapping, filtering string, nat vnet.NATType)) {
	for mapping, m := range rfc4787 {
		for filtering, t := range rfc4787 {
			f(mapping, filtering, vnet.NATType{MappingBehavior: m, FilteringBehavior: t})
		}
	}
}

// truthOf is the verdict of a type of NAT, and its name of old.
func truthOf(mapping, filtering string) (relay, classic string) {
	switch {
	case mapping != EndpointIndependent && filtering == EndpointIndependent:
		return likely, "symmetric"
	case mapping != EndpointIndependent:
		return required, "symmetric"
	case filtering == EndpointIndependent:
		return notRequired, "full cone"
	case filtering == AddressDependent:
		return notRequired, "restricted cone"
	}
	return unlikely, "port-restricted cone"
}

func TestRunNamesEveryTypeOfNAT(t *testing.T) {
	nine(func(mapping, filtering string, nat vnet.NATType) {
		t.Run(mapping+"/"+filtering, func(t *testing.T) {
			l := lab{nat: &nat, addrs: []string{serverA, serverB}}
			l.run(t, func(t *testing.T, c Config) {
				start := time.Now()
				r, err := Run(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				f := &r.V4
				relay, classic := truthOf(mapping, filtering)
				if f.Mapping.Behavior != mapping || f.Filtering.Behavior != filtering || f.Classic != classic || r.Verdict.Relay != relay {
					t.Errorf("got %s, %s, %q, %s; want %s, %s, %q, %s", f.Mapping.Behavior, f.Filtering.Behavior, f.Classic, r.Verdict.Relay, mapping, filtering, classic, relay)
				}
				if f.Mapping.Confidence < 0.95 || f.Filtering.Confidence < 0.95 || f.Mapping.Confidence > 0.98 || f.Filtering.Confidence > 0.98 {
					t.Errorf("got confidence %v and %v, want 0.95 to 0.98", f.Mapping.Confidence, f.Filtering.Confidence)
				}
				if f.NAT != "yes" || f.Stable != "yes" || f.Loss != 0 || f.NAT64 != "no" || f.Mapped[0].Address.String() != natOuter {
					t.Errorf("got NAT %s, stable %s, loss %v, nat64 %s, mapped %v", f.NAT, f.Stable, f.Loss, f.NAT64, f.Mapped)
				}
				if want := map[bool]string{true: "no", false: NotTested}[mapping == EndpointIndependent]; f.InboundDisturbs != want {
					t.Errorf("got disturbs %s, want %s", f.InboundDisturbs, want)
				}
				if r.TURN.State != "ok" || len(r.TURN.URLs) != 2 {
					t.Errorf("turn: got %+v, want both URLs ok", r.TURN)
				}
				if r.V6.UDP != "not_tested" || r.V6.Verdict.Relay != Unknown || r.V6.Mapping.Behavior != Unknown {
					t.Errorf("v6: got %s, %s, %s; want not_tested, unknown, unknown", r.V6.UDP, r.V6.Verdict.Relay, r.V6.Mapping.Behavior)
				}
				if took := time.Since(start); took > 700*time.Millisecond {
					t.Errorf("took %s, want half a second and a few round trips of 10 ms", took)
				}
				if n := len(f.Evidence); n > 80 {
					t.Errorf("got %d transactions, want a budget of 80 kept", n)
				}
			})
		})
	})
}

// One address tells the filter of ports and, of mappings, only the
// address-and-port-dependent. The rest stays open, and is not guessed.
func TestRunWithOneAddress(t *testing.T) {
	nine(func(mapping, filtering string, nat vnet.NATType) {
		t.Run(mapping+"/"+filtering, func(t *testing.T) {
			l := lab{nat: &nat}
			l.run(t, func(t *testing.T, c Config) {
				r, err := Run(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				f := &r.V4
				wantMapping, wantFiltering, wantRelay := Unknown, Unknown, Unknown
				if mapping == AddressAndPortDependent {
					wantMapping, wantRelay = mapping, likely
				}
				if filtering == AddressAndPortDependent {
					if wantFiltering = filtering; wantMapping != Unknown {
						wantRelay = required
					}
				}
				if f.Mapping.Behavior != wantMapping || f.Filtering.Behavior != wantFiltering || r.Verdict.Relay != wantRelay {
					t.Errorf("got %s, %s, %s; want %s, %s, %s", f.Mapping.Behavior, f.Filtering.Behavior, r.Verdict.Relay, wantMapping, wantFiltering, wantRelay)
				}
				if !slices.Contains(f.Mapping.Possible, mapping) || !slices.Contains(f.Filtering.Possible, filtering) {
					t.Errorf("got possible %v and %v, want them to hold %s and %s", f.Mapping.Possible, f.Filtering.Possible, mapping, filtering)
				}
			})
		})
	})
}

func TestRunWithoutNAT(t *testing.T) {
	l := lab{}
	l.run(t, func(t *testing.T, c Config) {
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.V4.NAT != "no" || r.V4.Mapping.Behavior != EndpointIndependent || r.Verdict.Relay != notRequired || r.V4.Classic != "" {
			t.Errorf("got NAT %s, %s, %s, %q; want no, %s, %s and no old name, for one address leaves it open", r.V4.NAT, r.V4.Mapping.Behavior, r.Verdict.Relay, r.V4.Classic, EndpointIndependent, notRequired)
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

// A network that lets no UDP through for a while does not block it.
func TestRunWhereTheNetworkWasAway(t *testing.T) {
	var back time.Time
	l := lab{nat: &vnet.NATType{}, filter: func(vnet.Chunk) bool { return time.Now().After(back) }}
	l.run(t, func(t *testing.T, c Config) {
		back = time.Now().Add(1600 * time.Millisecond)
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.V4.UDP != "ok" || r.Verdict.Relay == required || r.V4.Mapping.Behavior == AddressDependent || r.V4.Mapping.Behavior == AddressAndPortDependent {
			t.Errorf("got UDP %s, %s, mapping %s", r.V4.UDP, r.Verdict.Relay, r.V4.Mapping.Behavior)
		}
		if d := time.Duration(r.DurationMS) * time.Millisecond; d > 5*time.Second {
			t.Errorf("it took %s", d)
		}
	})
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
