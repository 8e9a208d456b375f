package nattest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/vnet"
)

// What makes probes name the wrong NAT, and that it does not fool this one.
// Causes that have tests of their own: a silent address (TestMissingAnswersOnlyWiden),
// loss (TestRunLoss), collisions and pools (TestClassify), several ways out
// (TestRunKeepsToOneWayOut), foreign and late packets (TestRunIgnoresForeignAnswers,
// TestProbeRefuses), several NATs (the sum is what counts), hairpinning (TestHairpin*).

var (
	s1p1 = netip.MustParseAddrPort("203.0.113.10:3478")
	s1p2 = netip.MustParseAddrPort("203.0.113.10:3479")
	s2p2 = netip.MustParseAddrPort("203.0.113.11:3479")
)

// heardBy is a transaction that was answered.
func heardBy(kind string, socket int, to, expect netip.AddrPort, mapped string) Evidence {
	e := Evidence{Kind: kind, Socket: socket, Local: netip.MustParseAddrPort(local), To: to, Sends: 1, Answers: 1, From: to, Mapped: netip.MustParseAddrPort("198.51.100.1:" + mapped)}
	if expect != to {
		e.Expect, e.From = expect, expect
	}
	return e
}

// unheard is the same without an answer.
func unheard(kind string, socket int, to, expect netip.AddrPort) Evidence {
	e := heardBy(kind, socket, to, expect, "1")
	e.Answers, e.From, e.Mapped = 0, netip.AddrPort{}, netip.AddrPort{}
	return e
}

// home is the golden evidence of a home router: n rounds on two sockets, of
// which lost controls went unanswered, and what the alternates see afterwards.
func home(n, lost int, after string) (ev []Evidence) {
	for _, to := range []netip.AddrPort{s1p1, s1p2, s2p2} {
		e := heardBy(kindMapping, 0, to, to, "7")
		e.Other = s2p2
		ev = append(ev, e)
	}
	for s := 3; s < 5; s++ {
		for range n {
			control := heardBy(kindControl, s, s1p1, s1p1, "9")
			if lost > 0 {
				lost--
				control = unheard(kindControl, s, s1p1, s1p1)
			}
			ev = append(ev, control, unheard(kindChangePort, s, s1p1, s1p2), unheard(kindChangeBoth, s, s1p1, s2p2))
		}
		ev = append(ev, heardBy(kindDisturb, s, s1p2, s1p2, after), heardBy(kindDisturb, s, s2p2, s2p2, after))
	}
	return ev
}

func judged(ev []Evidence) Family {
	tr := trial([]string{s1p1.String(), s1p2.String(), "203.0.113.11:3478", s2p2.String()}, "7 7 7 7")
	return classify(observation{trials: []Trial{tr, tr, tr}, evidence: ev, tally: tallyOf(ev, "all")}, true)
}

func TestGoldenEvidence(t *testing.T) {
	const e, p, u = EndpointIndependent, AddressAndPortDependent, Unknown
	with := func(ev []Evidence, more ...Evidence) []Evidence { return append(more, ev...) }
	moved := heardBy(kindAgain, 0, s1p1, s1p1, "8")
	late := unheard(kindChangeBoth, 3, s1p1, s2p2)
	late.From, late.Fault = s2p2, faultLate
	ignored := unheard(kindChangePort, 3, s1p1, s1p2)
	ignored.From, ignored.Fault = s1p1, faultAsked
	refused := ignored
	refused.Fault, refused.Error = faultError, 420
	dropped := unheard(kindSolicitedPort, 0, s1p1, s1p2)
	dropped.Sends = 5
	for _, tt := range []struct {
		name                         string
		ev                           []Evidence
		filtering, disturbs, verdict string
	}{
		{"home router", home(5, 0, "9"), p, "no", unlikely},
		{"no. 7: a stranger's packet moves the mapping", home(5, 0, "11"), p, "yes", likely},
		{"no. 3, 11: the controls are lost, too: loss or a throttled server", home(5, 9, "9"), u, u, u},
		{"one round is not enough", home(1, 0, "9"), u, u, u},
		{"no. 15: the mapping changed during the test", with(home(5, 0, "9"), moved), p, "no", likely},
		{"no. 4: the server ignores CHANGE-REQUEST to another port", with(home(5, 0, "9"), ignored), u, "no", u},
		{"the server refuses CHANGE-REQUEST to another port", with(home(5, 0, "9"), refused), u, "no", u},
		{"no. 20: an answer that came when it was no longer unsolicited", with(home(5, 0, "9"), late), p, "no", unlikely},
		{"the server promises and does not answer from its other port", with(home(5, 0, "9"), dropped), u, "no", u},
		{"one socket hears what the other does not", with(home(5, 0, "9"), heardBy(kindChangeBoth, 3, s1p1, s2p2, "9")), u, "no", u},
		{"both sockets hear", with(home(0, 0, "9"), heardBy(kindChangeBoth, 3, s1p1, s2p2, "9"), heardBy(kindChangeBoth, 4, s1p1, s2p2, "9")), e, u, notRequired},
	} {
		f := judged(tt.ev)
		if f.Filtering.Behavior != tt.filtering || f.InboundDisturbs != tt.disturbs || f.Verdict.Relay != tt.verdict {
			t.Errorf("%s: got %s (%v), disturbs %s, %s; want %s, %s, %s", tt.name, f.Filtering.Behavior, f.Filtering.Possible, f.InboundDisturbs, f.Verdict.Relay, tt.filtering, tt.disturbs, tt.verdict)
		}
	}
}

// No. 1, 6: a mapping is read from one socket, which filtering never uses.
func TestSocketsHaveOnePurpose(t *testing.T) {
	l := lab{nat: &vnet.NATType{FilteringBehavior: vnet.EndpointAddrPortDependent}, addrs: []string{serverA, serverB}}
	l.run(t, func(t *testing.T, c Config) {
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		ports := map[netip.AddrPort]int{}
		for _, e := range r.V4.Evidence {
			if n, seen := ports[e.Local]; seen && n != e.Socket {
				t.Errorf("got %s for sockets %d and %d", e.Local, n, e.Socket)
			}
			ports[e.Local] = e.Socket
			filters := e.Kind == kindControl || e.Kind == kindChangePort || e.Kind == kindChangeBoth || e.Kind == kindDisturb
			if filters != (e.Socket >= 3 && e.Socket < 5) {
				t.Errorf("got %s on socket %d", e.Kind, e.Socket)
			}
			if p := e.Local.Port(); p < 32768 || p == 51820 {
				t.Errorf("got port %d", p)
			}
		}
		for _, tr := range r.V4.Trials {
			if len(tr.Answers) != 4 {
				t.Errorf("got %d endpoints from %s, want all four", len(tr.Answers), tr.Local)
			}
		}
	})
}

// No. 4: a server that answers CHANGE-REQUEST from where it was asked must not
// make every NAT a full cone, nor silence a strict one.
func TestServerThatIgnoresChangeRequest(t *testing.T) {
	for _, filter := range rfc4787 {
		l := lab{nat: &vnet.NATType{FilteringBehavior: filter}, addrs: []string{serverA, serverB}, noHTTP: true}
		l.answer = func(pc net.PacketConn, from net.Addr, req *stun.Message) {
			pc.WriteTo(binding(req.TransactionID, from).Raw, from)
		}
		l.run(t, func(t *testing.T, c Config) {
			r, err := Run(context.Background(), c)
			if err != nil {
				t.Fatal(err)
			}
			if f := r.V4.Filtering; f.Behavior != NotTested || len(f.Possible) != 3 || !strings.Contains(strings.Join(f.Caveats, " "), "ignores CHANGE-REQUEST") {
				t.Errorf("got %+v, want not tested, with the reason", f)
			}
			if r.V4.InboundDisturbs == "no" {
				t.Error("got that nothing disturbs, though nothing was sent unsolicited")
			}
		})
	}
}

// No. 5: two names of one address are one server.
func TestAlsoMustBeAnotherServer(t *testing.T) {
	c := Config{Also: []string{"stun:twin.test", "stun:other.test:19302"}, Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr(map[string]string{"twin.test": serverA, "other.test": "198.51.100.9"}[host])}, nil
	}}
	eps, notes := c.alsoEndpoints(context.Background(), []netip.Addr{netip.MustParseAddr(serverA)})
	if len(eps) != 1 || eps[0].String() != "198.51.100.9:19302" || len(notes) != 1 || !strings.Contains(notes[0], "twin.test") {
		t.Errorf("got %v, %q; want the other server alone and a note", eps, notes)
	}
	for _, bad := range []string{"", "stun:", "turn:a.b", "a b", "stun:a.b:0", "a:99999"} {
		if _, err := parseAlso(bad); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

// Servers of others get ten requests a second at most, whatever is lost, and
// never the token.
func TestOthersAreAskedPolitely(t *testing.T) {
	other := netip.MustParseAddrPort("198.51.100.9:3478")
	token := []byte("0123456789abcdef")
	p := newProbe(began, plan{mapping: 3, own: []netip.AddrPort{ep1}, also: []netip.AddrPort{other}, token: token})
	last, sent := time.Time{}, 0
	for now := began; ; now = now.Add(time.Millisecond) {
		out, _, over := p.next(now)
		for _, k := range out {
			if k.to != other {
				continue
			}
			if sent++; !last.IsZero() && now.Sub(last) < politeness || strings.Contains(string(k.raw), string(token)) {
				t.Fatalf("got request %d after %s", sent, now.Sub(last))
			}
			last = now
		}
		if over {
			break
		}
	}
	if sent != 3*len(politely) {
		t.Errorf("got %d requests, want %d", sent, 3*len(politely))
	}
}

// No. 8: where ports run short, flows of several sockets meet on one, and what
// had to make way looks like another mapping.
func TestPortsThatSocketsShare(t *testing.T) {
	a, b := trial(four, "7 7 8 8"), trial(four, "8 8 7 7")
	b.Local = netip.MustParseAddrPort("192.168.1.2:40001")
	f := classify(observation{trials: []Trial{a, b}, tally: homely, disturbs: "no"}, true)
	if f.Mapping.Behavior != Unknown || len(f.Mapping.Possible) != 2 || f.Verdict.Relay != likely {
		t.Errorf("got %+v, %s; want unknown, endpoint-independent possible, likely", f.Mapping, f.Verdict.Relay)
	}
}

// filtered runs a probe whose mapping is answered, and of the rest what answer
// lets through, until it is over or the first socket for filtering is closed.
func filtered(answer func(*test) bool) *probe {
	p := newProbe(began, plan{mapping: 1, filtering: 1, own: []netip.AddrPort{ep1, ep2}, token: make([]byte, minToken)})
	for now := began; ; now = now.Add(time.Millisecond) {
		out, _, over := p.next(now)
		for _, k := range out {
			m, _ := decode(k.raw)
			if t := p.byID[m.TransactionID]; t.kind == kindMapping || answer(t) {
				p.receive(answerTo(k, outer), k.to, k.socket, now)
			}
		}
		if over || len(p.doors) > 0 && p.doors[0].closed {
			return p
		}
	}
}

// No. 3: the more gets lost, the more is asked before silence counts.
func TestRoundsGoOnWhilePacketsGetLost(t *testing.T) {
	all := filtered(func(t *test) bool { return t.kind == kindControl }).doors[0].rounds
	none := filtered(func(t *test) bool { return false }).doors[0].rounds
	if all >= none || all < minRounds || none != maxRounds {
		t.Errorf("got %d rounds where controls are answered, %d where none is; want some, then %d", all, none, maxRounds)
	}
}

// No. 20: once a socket has sent to where unsolicited answers come from, none
// that comes is unsolicited.
func TestLateAnswerIsNoProof(t *testing.T) {
	for _, closed := range []bool{false, true} {
		p := filtered(func(t *test) bool { return t.kind == kindControl })
		p.doors[0].closed = closed
		for _, k := range p.tests {
			if k.kind != kindChangePort {
				continue
			}
			m := stun.MustBuild(stun.NewTransactionIDSetter(k.id), stun.BindingSuccess, &stun.XORMappedAddress{IP: net.ParseIP("198.51.100.1"), Port: 7},
				stun.RawAttribute{Type: stun.AttrResponseOrigin, Value: plainAddress(ep2)})
			if p.receive(m.Raw, ep2, k.socket, began.Add(time.Second)); k.answered() == closed || (k.fault == faultLate) != closed {
				t.Errorf("closed %t: got answered %t, fault %q", closed, k.answered(), k.fault)
			}
			break
		}
	}
}

// No. 12, 16: without a NAT it is a firewall that filters.
func TestFirewallWithoutNAT(t *testing.T) {
	f := classify(observation{trials: []Trial{trial(four, "= = = ="), trial(four, "= = = =")}, tally: homely, disturbs: "no"}, true)
	if f.Classic != "symmetric firewall" || f.Verdict.Relay != unlikely || !strings.Contains(f.Verdict.Reason, "firewall on this machine or on the way") {
		t.Errorf("got %q, %s: %s", f.Classic, f.Verdict.Relay, f.Verdict.Reason)
	}
}

// No. 17: addresses that a server names in IPv4 lie beyond the NAT64 (RFC 6052
// section 2.4 has these examples).
func TestNAT64Addresses(t *testing.T) {
	v4 := netip.MustParseAddr("192.0.2.33")
	for prefix, want := range map[string]string{
		"2001:db8::/32": "2001:db8:c000:221::", "2001:db8:100::/40": "2001:db8:1c0:2:21::", "2001:db8:122::/48": "2001:db8:122:c000:2:2100::",
		"2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::", "2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::", "2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
	} {
		p := netip.MustParsePrefix(prefix)
		if got := embed(p, v4); got != netip.MustParseAddr(want) || embedded(p, got) != v4 {
			t.Errorf("%s: got %s, back %s; want %s", prefix, got, embedded(p, got), want)
		}
	}
}

// No. 21: UDP is blocked only if every port is silent, and the server alive.
func TestOneSilentPortIsNotBlocked(t *testing.T) {
	for trials, want := range map[string]string{"- 7": "partial", "7 -": "partial", "- -": "blocked", "7 7": "ok"} {
		if f := classify(observation{trials: []Trial{trial(two, trials)}}, true); f.UDP != want {
			t.Errorf("%s: got %s, want %s", trials, f.UDP, want)
		}
	}
}
