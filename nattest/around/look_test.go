package around

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v3"
)

var serverAt = netip.MustParseAddrPort("203.0.113.9:3478")

// silent is a socket to which nothing ever comes.
type silent struct {
	net.Conn // one end of a pipe, for its deadlines
	local    netip.AddrPort
	sent     func(b []byte, to net.Addr)
}

func newSilent() *silent {
	c, _ := net.Pipe()
	return &silent{c, clientAt, func([]byte, net.Addr) {}}
}

func (s *silent) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.local) }

func (s *silent) Write(b []byte) (int, error) { return len(b), nil }

func (s *silent) WriteTo(b []byte, to net.Addr) (int, error) { s.sent(b, to); return len(b), nil }

func (s *silent) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := s.Read(b)
	return n, nil, err
}

// answering is a socket that STUN servers answer.
type answering struct {
	*silent
	answers chan []byte
	mapped  netip.AddrPort
}

func (s *answering) WriteTo(b []byte, _ net.Addr) (int, error) {
	m := &stun.Message{Raw: append([]byte{}, b...)}
	if err := m.Decode(); err != nil {
		return 0, err
	}
	wrong := stun.MustBuild(stun.TransactionID, stun.BindingSuccess, &stun.XORMappedAddress{IP: net.IPv4(1, 2, 3, 4), Port: 5})
	right := stun.MustBuild(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess, &stun.XORMappedAddress{IP: s.mapped.Addr().AsSlice(), Port: int(s.mapped.Port())})
	s.answers <- wrong.Raw
	s.answers <- right.Raw
	return len(b), nil
}

func (s *answering) ReadFrom(b []byte) (int, net.Addr, error) {
	return copy(b, <-s.answers), net.UDPAddrFromAddrPort(serverAt), nil
}

// tracing is a socket for which the network is a table: who answers a packet
// of ttl hops to a target.
type tracing struct {
	*silent
	answer  func(to netip.Addr, send int) Echo
	sends   atomic.Int32
	echoes  chan Echo
	timeout chan struct{}
}

func (s *tracing) SetReadDeadline(t time.Time) error {
	if t.Before(time.Now()) {
		close(s.timeout)
	}
	return nil
}

func (s *tracing) WriteTo(b []byte, to net.Addr) (int, error) {
	if !stun.IsMessage(b) {
		return 0, errors.New("not STUN")
	}
	if e := s.answer(addrPort(to).Addr(), int(s.sends.Add(1))); e.From.IsValid() {
		s.echoes <- e
	}
	return len(b), nil
}

func (s *tracing) ReadEcho([]byte) (Echo, error) {
	select {
	case e := <-s.echoes:
		return e, nil
	case <-s.timeout:
		return Echo{}, context.DeadlineExceeded
	}
}

// machine makes the sockets of a machine behind 192.168.1.1.
func machine(mapped netip.AddrPort, answer func(ttl int, to netip.Addr, send int) Echo) Config {
	return Config{
		Host: "turn.lab", Servers: []netip.AddrPort{serverAt},
		ListenPacket: func(context.Context, string, string) (net.PacketConn, error) {
			if mapped.IsValid() {
				return &answering{newSilent(), make(chan []byte, 8), mapped}, nil
			}
			return newSilent(), nil
		},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			if network == "udp4" {
				return newSilent(), nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		},
		System: System{
			Interfaces: func() ([]Interface, error) {
				return []Interface{{Name: "eth0", MTU: 1500, Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.1.2/24")}}}, nil
			},
			Routes: func() ([]Route, error) { return []Route{{"eth0", gatewayIP}}, nil },
			Near: func(ctx context.Context, address netip.AddrPort, ttl int) (net.Conn, error) {
				if ttl > 4 || address.String() != "192.0.2.1:80" {
					return nil, errors.New("too far")
				}
				<-ctx.Done()
				return nil, ctx.Err()
			},
			Multicast: func(context.Context, netip.Addr) (net.PacketConn, error) { return newSilent(), nil },
			Trace: func(_ context.Context, _ netip.Addr, ttl int) (TraceConn, error) {
				if ttl > 4 {
					panic("a packet that lives for more than four hops")
				}
				return &tracing{silent: newSilent(), echoes: make(chan Echo, 8), timeout: make(chan struct{}),
					answer: func(to netip.Addr, send int) Echo { return answer(ttl, to, send) }}, nil
			},
		},
	}
}

func nothing(int, netip.Addr, int) Echo { return Echo{} }

// TestLookEnds where nothing ever answers; the bubble fails on a goroutine
// that is left.
func TestLookEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := Look(t.Context(), machine(netip.AddrPort{}, nothing))
		if took := time.Since(start); took > lookTime {
			t.Errorf("took %s, want at most %s", took, lookTime)
		}
		r.Conclude(Seen{})
		if r.CGN.State != Unknown || r.NATPMP.State != Unknown || r.PCP.State != Unknown || r.UPnP.State != Unknown || r.CaptivePortal.State != Unknown || r.VPN.State != No {
			t.Errorf("got %+v, want everything unknown but the VPN", r)
		}
	})
}

func TestLookIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		Look(ctx, machine(netip.AddrPort{}, nothing))
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("took %s, want it to end with its context", took)
		}
	})
}

func TestWhatASystemLacksIsNotTested(t *testing.T) {
	c := machine(netip.AddrPort{}, nothing)
	c.API, c.System = true, System{}
	r := Look(t.Context(), c)
	for name, p := range map[string]Protocol{"NAT-PMP": r.NATPMP, "PCP": r.PCP, "UPnP": r.UPnP} {
		if p.State != NotTested || p.Why != notHere {
			t.Errorf("got %s %+v, want not tested: %s", name, p, notHere)
		}
	}
	if r.VPN.State != NotTested || r.Hops != nil || r.Local.Address != clientAt.Addr() {
		t.Errorf("got %+v, want neither VPN nor hops", r)
	}
}

func TestTrace(t *testing.T) {
	icmp := func(s string, kind uint8) Echo { return Echo{From: netip.MustParseAddr(s), ICMP: true, Type: kind} }
	synctest.Test(t, func(t *testing.T) {
		r := Look(t.Context(), machine(netip.AddrPortFrom(outer, 40000), func(ttl int, to netip.Addr, send int) Echo {
			switch {
			case ttl > 2 && to == outer:
				t.Errorf("a packet to %s lives for %d hops, more than it takes", to, ttl)
			case ttl == 1 && send == 1:
				return icmp("192.168.1.99", 5) // a redirect means nothing
			case ttl == 1 && send == 2:
				return icmp("192.168.1.1", timeExceeded)
			case ttl == 2 && to == outer:
				return icmp(outer.String(), unreachable)
			case ttl == 2:
				return icmp("100.64.0.1", timeExceeded)
			case ttl == 4:
				return Echo{From: to, N: 20}
			}
			return Echo{}
		}))
		r.Conclude(Seen{})
		for i, want := range []Hop{
			{1, "router", gatewayIP, "private", 2}, {2, "router", netip.MustParseAddr("100.64.0.1"), "shared", 1},
			{3, "silent", netip.Addr{}, "", 3}, {4, "reached", serverAt.Addr(), "public", 1},
		} {
			if len(r.Hops) != 4 || r.Hops[i] != want {
				t.Fatalf("got hops %+v, want %+v as number %d", r.Hops, want, i+1)
			}
		}
		if len(r.OwnHops) != 2 || r.OwnHops[1] != (Hop{2, "reached", outer, "public", 1}) {
			t.Errorf("got hops to the own address %+v, want it at 2", r.OwnHops)
		}
		if r.CGN.State != Yes || r.mapped.Addr() != outer {
			t.Errorf("got CGN %+v, seen as %s; want yes, %s", r.CGN, r.mapped, outer)
		}
	})
}

// TestNoise: echoes without meaning must not keep a trace going.
func TestNoise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := Look(t.Context(), machine(netip.AddrPortFrom(outer, 40000), func(int, netip.Addr, int) Echo {
			return Echo{From: netip.MustParseAddr("198.51.100.66"), N: 20}
		}))
		if took := time.Since(start); took > lookTime {
			t.Errorf("took %s, want at most %s", took, lookTime)
		}
		for _, h := range append(r.Hops, r.OwnHops...) {
			if h.State != "silent" {
				t.Errorf("got %+v, want silent", h)
			}
		}
	})
}
