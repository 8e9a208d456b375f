package turnsrv

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v3"
	"turnkey/turnsrv/cred"
)

func limited(change func(*Limits)) func(*Config) {
	return func(c *Config) {
		c.Limits = DefaultLimits()
		change(c.Limits)
	}
}

func TestAllocationLimits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Limits)
		want   stun.ErrorCode // of the fourth allocation
		other  stun.ErrorCode // of the fourth, by another user
	}{
		{"in all", func(l *Limits) { l.Allocations = 3 }, 508, 508},
		{"per user", func(l *Limits) { l.AllocationsPerUser = 3 }, 486, 0},
		{"per address", func(l *Limits) { l.AllocationsPerAddress = 3 }, 486, 486},
		{"none", func(l *Limits) { *l = Limits{} }, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, limited(tt.change))
			var held []*wire
			for range 3 {
				w := f.wire(t, "udp").challenge()
				w.allocate()
				held = append(held, w)
			}
			if got := code(f.wire(t, "tcp").challenge().call(stun.MethodAllocate, udpTransport)); got != tt.want {
				t.Errorf("one more: got %d, want %d", got, tt.want)
			}
			w := f.wire(t, "udp").challenge()
			w.username, w.password, _ = f.secrets.Issue("another", time.Now().Add(time.Hour))
			if got := code(w.call(stun.MethodAllocate, udpTransport)); got != tt.other {
				t.Errorf("one more of another user: got %d, want %d", got, tt.other)
			}
			if got := code(held[0].call(stun.MethodRefresh, lifetime(0))); got != 0 {
				t.Fatalf("got %d", got)
			}
			if got := code(f.wire(t, "udp").challenge().call(stun.MethodAllocate, udpTransport)); got != 0 {
				t.Errorf("after one has ended: got %d, want success", got)
			}
		})
	}
}

// An Allocate that fails after it was counted does not count.
func TestFailedAllocationsDoNotCount(t *testing.T) {
	f := start(t, func(c *Config) {
		limited(func(l *Limits) { l.AllocationsPerUser = 2 })(c)
		listen := c.IPv4.Listen
		broken := 5
		c.IPv4.Listen = func(port uint16) (net.PacketConn, error) {
			if broken--; broken >= 0 {
				return nil, fmt.Errorf("port %d: no", port)
			}
			return listen(port)
		}
		c.RelayPorts = PortRange{Min: 30600, Max: 30600}
	})
	for i := range 5 {
		if got := code(f.wire(t, "udp").challenge().call(stun.MethodAllocate, udpTransport)); got != 508 {
			t.Fatalf("try %d: got %d, want 508", i, got)
		}
	}
	if got := code(f.wire(t, "udp").challenge().call(stun.MethodAllocate, udpTransport)); got != 0 {
		t.Errorf("got %d, want success", got)
	}
}

func TestPermissionLimit(t *testing.T) {
	f := start(t, limited(func(l *Limits) { l.Permissions = 3 }))
	w := f.wire(t, "udp").challenge()
	w.allocate()
	a, b, c, d := peerAttr("8.8.8.1:1"), peerAttr("8.8.8.2:1"), peerAttr("8.8.8.3:1"), peerAttr("8.8.8.4:1")
	for _, tt := range []struct {
		peers []stun.Setter
		want  stun.ErrorCode
	}{
		{[]stun.Setter{a, b, c, d}, 508},
		{[]stun.Setter{a, a, b}, 0},
		{[]stun.Setter{b, c}, 0},
		{[]stun.Setter{a}, 0}, // again
		{[]stun.Setter{d}, 508},
	} {
		if got := code(w.call(stun.MethodCreatePermission, tt.peers...)); got != tt.want {
			t.Errorf("%v: got %d, want %d", tt.peers, got, tt.want)
		}
	}
	if got := code(w.call(stun.MethodChannelBind, channel(0x4000), d)); got != 508 {
		t.Errorf("by a channel: got %d, want 508", got)
	}
}

func TestChannelLimit(t *testing.T) {
	f := start(t, limited(func(l *Limits) { l.Channels = 2 }))
	w := f.wire(t, "udp").challenge()
	w.allocate()
	for i, want := range []stun.ErrorCode{0, 0, 508} {
		if got := code(w.call(stun.MethodChannelBind, channel(0x4000+uint16(i)), peerAttr(fmt.Sprintf("8.8.8.8:%d", i+1)))); got != want {
			t.Errorf("channel %d: got %d, want %d", i+1, got, want)
		}
	}
	if got := code(w.call(stun.MethodChannelBind, channel(0x4000), peerAttr("8.8.8.8:1"))); got != 0 {
		t.Errorf("a channel again: got %d, want success", got)
	}
}

func TestConnectionLimit(t *testing.T) {
	f := start(t, limited(func(l *Limits) { l.ConnectionsPerAddress = 2 }))
	first := f.wire(t, "tcp").challenge()
	f.wire(t, "tcp").challenge()
	third := f.wire(t, "tcp")
	_ = third.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("a third connection is served")
	}
	first.Close()
	for start := time.Now(); ; {
		conn, err := net.Dial("tcp", f.tcp)
		if err != nil {
			t.Fatal(err)
		}
		w := &wire{Conn: conn, t: t}
		w.send(w.build(stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw)
		_, err = w.frame(time.Second)
		conn.Close()
		if err == nil {
			break
		}
		if time.Since(start) > 5*time.Second {
			t.Fatal("no connection is served after one has ended")
		}
	}
}

// Both directions, by channel and by indication: what is beyond the limit is
// dropped, what is within it passes.
func TestBandwidthLimits(t *testing.T) {
	const size, packets = 1000, 2000
	for name, tt := range map[string]struct {
		change func(*Limits)
		quota  cred.Quota
	}{
		"per allocation":         {change: func(l *Limits) { l.BandwidthPerAllocation = 1_000_000 }},
		"per user":               {change: func(l *Limits) { l.BandwidthPerUser = 1_000_000 }},
		"in all":                 {change: func(l *Limits) { l.Bandwidth = 1_000_000 }},
		"by quota":               {func(*Limits) {}, cred.Quota{Of: "team", Bandwidth: 1_000_000}},
		"by quota, below others": {func(l *Limits) { l.BandwidthPerUser = 1_000_000_000 }, cred.Quota{Of: "team", Bandwidth: 1_000_000}},
		"per user, below quota":  {func(l *Limits) { l.BandwidthPerUser = 1_000_000 }, cred.Quota{Of: "team", Bandwidth: 1_000_000_000}},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, func(c *Config) { allowLoopback(c); limited(tt.change)(c) })
			peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			w := f.wire(t, "udp").challenge()
			if tt.quota.Of != "" {
				w.within(f, tt.quota, "anna")
			}
			relay := w.allocate()
			if got := code(w.call(stun.MethodChannelBind, channel(0x4000), peerAttr(peer.LocalAddr().String()))); got != 0 {
				t.Fatalf("got %d", got)
			}
			begin := time.Now()
			data := append([]byte{0x40, 0, size >> 8, size & 0xFF}, make([]byte, size)...)
			for i := range packets {
				w.send(data)
				if _, err := peer.WriteToUDPAddrPort(data[:size], relay); err != nil {
					t.Fatal(err)
				}
				if i%50 == 49 { // do not overrun the sockets
					if got := code(w.call(stun.MethodRefresh)); got != 0 {
						t.Fatalf("got %d", got)
					}
				}
			}
			s := f.Sessions()[0]
			// A burst, and what the rate gives in the time it took.
			most := uint64(bucketMinBurst/8) + uint64(time.Since(begin).Seconds()*1_000_000/8) + size
			for direction, got := range map[string]uint64{"to peers": s.BytesOut, "from peers": s.BytesIn} {
				if got > most || got < bucketMinBurst/8-size {
					t.Errorf("%s: got %d bytes, want a burst of %d and at most %d", direction, got, bucketMinBurst/8, most)
				}
			}
		})
	}
}

// within gives w a credential that is held to a quota.
func (w *wire) within(f *fixture, q cred.Quota, label string) *wire {
	w.t.Helper()
	var err error
	if w.username, w.password, err = f.secrets.IssueWithin(q, label, time.Now().Add(time.Hour)); err != nil {
		w.t.Fatal(err)
	}
	return w
}

// Every credential of a quota counts, whatever its label; nobody else's does.
func TestQuotaOfATokenCountsAllItsCredentials(t *testing.T) {
	var lines bytes.Buffer
	refusals := make(chan Refused, 8)
	f := start(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&lines, nil))
		c.Watch.Refused = func(v Refused) { refusals <- v }
	})
	two := cred.Quota{Of: "team", Allocations: 2}
	allocate := func(q cred.Quota, label string) (*wire, stun.ErrorCode) {
		w := f.wire(t, "udp").challenge().within(f, q, label)
		return w, code(w.call(stun.MethodAllocate, udpTransport))
	}
	first, got := allocate(two, "anna")
	if _, again := allocate(two, "bob"); got != 0 || again != 0 {
		t.Fatalf("within the quota: got %d and %d", got, again)
	}
	if v := f.Sessions()[0]; v.Quota != two || v.Label != "anna" && v.Label != "bob" {
		t.Errorf("got the session %+v, want its label and its quota", v)
	}
	if _, got := allocate(two, "carl"); got != 486 {
		t.Fatalf("beyond it: got %d, want 486", got)
	}
	if v := <-refusals; v.Label != "carl" || v.Code != 486 || !strings.Contains(v.Reason, "token's quota: its turn.allocations") {
		t.Errorf("got %+v, want a refusal that says it is the token's quota", v)
	}
	for label, q := range map[string]cred.Quota{"carl": {}, "dora": {Of: "others", Allocations: 1}, "erik": {Of: "team", Allocations: 3}} {
		if _, got := allocate(q, label); got != 0 {
			t.Errorf("%s, %+v: got %d, want success", label, q, got)
		}
	}
	if got := code(first.call(stun.MethodRefresh, lifetime(0))); got != 0 {
		t.Fatalf("got %d", got)
	}
	if _, got := allocate(two, "fay"); got != 486 {
		t.Errorf("when two of three are left: got %d, want 486", got)
	}
	if n := f.EndUser("team"); n != 2 {
		t.Errorf("ended %d sessions of the quota, want 2", n)
	}
	f.await(t, 2)
	if _, got := allocate(two, "anna"); got != 0 {
		t.Errorf("when they have ended: got %d", got)
	}
	if n := f.EndUser("anna"); n != 1 {
		t.Errorf("ended %d sessions by label, want 1", n)
	}
	_ = f.Close()
	if text := lines.String(); strings.Count(text, "code=486") != 1 || !strings.Contains(text, "token's quota") || !strings.Contains(text, ":carl=quota-2-0-team") {
		t.Errorf("log: got %q, want one line about the quota", text)
	}
}

func TestQuotaDoesNotRaiseALimit(t *testing.T) {
	f := start(t, limited(func(l *Limits) { l.AllocationsPerUser = 1 }))
	many := cred.Quota{Of: "team", Allocations: 5}
	for i, want := range []stun.ErrorCode{0, 486} {
		if got := code(f.wire(t, "udp").challenge().within(f, many, fmt.Sprint("p_", i)).call(stun.MethodAllocate, udpTransport)); got != want {
			t.Errorf("allocation %d: got %d, want %d", i+1, got, want)
		}
	}
}

// A port that is set aside is an allocation of the quota, too.
func TestQuotaCountsReservations(t *testing.T) {
	f := start(t, nil)
	w := f.wire(t, "udp").challenge().within(f, cred.Quota{Of: "team", Allocations: 2}, "anna")
	answer := w.call(stun.MethodAllocate, udpTransport, value(stun.AttrEvenPort, 0x80))
	if code(answer) != 0 || !answer.Contains(stun.AttrReservationToken) {
		t.Fatalf("got %v", answer)
	}
	if got := code(f.wire(t, "udp").challenge().within(f, cred.Quota{Of: "team", Allocations: 2}, "bob").call(stun.MethodAllocate, udpTransport)); got != 486 {
		t.Errorf("got %d, want 486", got)
	}
}

// Of several bandwidths of one user the strictest counts, and an allocation that
// nothing bounds leaves the others alone.
func TestBandwidthsOfOneUserDoNotAddUp(t *testing.T) {
	var u userBuckets
	who := func(bits int64) taker { return taker{user: "team", quota: cred.Quota{Of: "team", Bandwidth: bits}} }
	plain := u.get(taker{user: "team"})
	wide := u.get(who(3_000_000))
	narrow := u.get(who(1_000_000))
	if plain != nil || wide != narrow || wide.in.rate.Load() != 1_000_000 || wide.out.rate.Load() != 1_000_000 || wide.in == wide.out {
		t.Errorf("got %p, %p and %p", plain, wide, narrow)
	}
	u.put(taker{user: "team"}, plain)
	u.put(who(1_000_000), narrow)
	if again := u.get(who(2_000_000)); again != wide || again.in.rate.Load() != 1_000_000 {
		t.Errorf("got %+v while one is left", again)
	}
	u.put(who(2_000_000), wide)
	u.put(who(3_000_000), wide)
	if len(u.of) != 0 {
		t.Errorf("got %d users when all have ended", len(u.of))
	}
	u.rate = 500_000
	if b := u.get(who(1_000_000)); b.in.rate.Load() != 500_000 {
		t.Errorf("got %d bits a second, want the server's limit", b.in.rate.Load())
	}
}

func TestBucketRate(t *testing.T) {
	b := newBucket(8000) // a kilobyte a second
	now := time.Now()
	passed := 0
	for range 1000 { // for 1000 seconds, two kilobytes each
		now = now.Add(time.Second)
		for range 2 {
			if b.allow(1000, now) {
				passed += 1000
			}
		}
	}
	if burst := int(bucketMinBurst / 8); passed < 1_000_000 || passed > 1_001_000+burst {
		t.Errorf("got %d bytes in 1000 s, want 1000 a second and a burst of %d", passed, burst)
	}
	if n := testing.AllocsPerRun(100, func() { b.allow(1, now) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func TestSessionLimit(t *testing.T) {
	var lines bytes.Buffer
	f := start(t, func(c *Config) {
		limited(func(l *Limits) { l.Session = 50 * time.Millisecond })(c)
		c.Log = slog.New(slog.NewTextHandler(&lines, nil))
	})
	f.wire(t, "udp").challenge().allocate()
	if err := f.sessions.wait(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(lines.String(), `reason="session limit"`) {
		t.Errorf("log: got %q, want the reason", lines.String())
	}
}

// Before a client has proved its address it is answered so often and not more.
func TestUnauthenticatedResponsesAreBounded(t *testing.T) {
	left := 3
	f := start(t, func(c *Config) {
		c.Unauthenticated = func(netip.Addr) bool { left--; return left >= 0 }
	})
	w := f.wire(t, "udp")
	for range 3 {
		w.ask(stun.MethodAllocate)
	}
	w.send(w.build(stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw)
	w.send(w.build(stun.NewType(stun.MethodRefresh, stun.ClassRequest), value(stun.AttrMessageIntegrity, make([]byte, 20)...)).Raw)
	if b, err := w.frame(50 * time.Millisecond); err == nil {
		t.Errorf("got %x, want no answer", b)
	}
	if got := code(f.wire(t, "tcp").ask(stun.MethodAllocate)); got != 401 {
		t.Errorf("over TCP, where the address is proved: got %d, want 401", got)
	}
}

func TestRefusalsAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		l := refusals{log: slog.New(slog.NewTextHandler(&lines, nil))}
		add := func(user, why string) {
			l.add(&request{}, "udp", user, refusal{code: 403, why: why})
		}
		count := func() int { n := strings.Count(lines.String(), "\n"); lines.Reset(); return n }
		for i := range 100 {
			add(fmt.Sprintf("%d:alice", i), "peer 10.0.0.1 is denied")
		}
		if got := count(); got != 1 {
			t.Errorf("the same user and peer: got %d lines, want 1", got)
		}
		add("1:alice", "peer 10.0.0.2 is denied")
		add("1:bob\nlevel=ERROR", "peer 10.0.0.1 is denied")
		if got := count(); got != 2 {
			t.Errorf("another peer, another user: got %d lines, want 2", got)
		}
		for i := range 10000 {
			add(fmt.Sprintf("1:user%d", i), "wrong password")
		}
		if got := count(); got != refusalLines-3 {
			t.Errorf("a flood: got %d lines, want %d", got, refusalLines-3)
		}
		time.Sleep(refusalPeriod)
		add("1:alice", "peer 10.0.0.1 is denied")
		if got := lines.String(); !strings.Contains(got, "count=9803") {
			t.Errorf("after a while: got %q, want how many were not written", got)
		}
	})
}
