package visitor

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v3"
	"turnkey/nattest"
)

func TestFilteringIsMeasured(t *testing.T) {
	for _, tt := range []struct {
		what      string
		addresses []netip.Addr
		pass      func(from netip.AddrPort) bool
		want      nattest.Rounds
	}{
		{"endpoint-independent", []netip.Addr{s1, s2}, func(netip.AddrPort) bool { return true }, nattest.Rounds{Sent: 1, ControlOK: 1, ChangedPortOK: 1, ChangedBothOK: 1}},
		{"address-dependent", []netip.Addr{s1, s2}, func(from netip.AddrPort) bool { return from.Addr() == s1 }, nattest.Rounds{Sent: 5, ControlOK: 5, ChangedPortOK: 5}},
		{"address-and-port-dependent", []netip.Addr{s1, s2}, func(from netip.AddrPort) bool { return from.Port() == 50000 }, nattest.Rounds{Sent: 5, ControlOK: 5}},
		{"one address, lets in", []netip.Addr{s1}, func(netip.AddrPort) bool { return true }, nattest.Rounds{Sent: 1, ControlOK: 1, ChangedPortOK: 1}},
		{"one address, keeps out", []netip.Addr{s1}, func(from netip.AddrPort) bool { return from.Port() == 50000 }, nattest.Rounds{Sent: 5, ControlOK: 5}},
		{"nothing arrives", []netip.Addr{s1, s2}, func(netip.AddrPort) bool { return false }, nattest.Rounds{Sent: 5}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, tt.addresses...)
				defer l.Close()
				l.pass = tt.pass
				id := l.start()
				var got struct{ Rounds nattest.Rounds }
				if code := l.post("/v1/nat/"+id+"/v4/rounds", nil, &got); code != 200 || got.Rounds != tt.want {
					t.Errorf("got %d %+v, want %+v", code, got.Rounds, tt.want)
				}
			})
		})
	}
}

// Where controls get lost there are more rounds, up to a bound.
func TestLossMakesForMoreRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s1, s2)
		defer l.Close()
		n := 0
		l.pass = func(from netip.AddrPort) bool { n++; return from.Port() == 50000 && n%2 == 1 } // every other control
		id := l.start()
		var got struct{ Rounds nattest.Rounds }
		if l.post("/v1/nat/"+id+"/v4/rounds", nil, &got); got.Rounds != (nattest.Rounds{Sent: roundsOfLoss, ControlOK: roundsOfLoss / 2}) {
			t.Errorf("got %+v, want %d rounds and half of the controls", got.Rounds, roundsOfLoss)
		}
		if n := len(l.packets()); n != 3*roundsOfLoss {
			t.Errorf("sent %d packets, want three in each round", n)
		}
	})
}

// Without a check of the page nothing is sent: silence would say nothing.
func TestNothingIsSentWithoutTheControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s1, s2)
		defer l.Close()
		l.mute = true
		id := l.start()
		forged := l.own
		forged.Pwd = strings.Repeat("x", 24)
		l.own, forged = forged, l.own
		l.live[s1].arrive(l.check(), browser) // wrong integrity
		l.own = forged
		l.live[s1].arrive(l.check(), netip.MustParseAddrPort("192.0.2.66:53")) // not from where the page is
		l.live[s1].arrive([]byte("no STUN"), browser)
		var got struct{ Rounds nattest.Rounds }
		if code := l.post("/v1/nat/"+id+"/v4/rounds", nil, &got); code != 200 || got.Rounds.Sent != 0 {
			t.Errorf("got %d %+v, want no round", code, got.Rounds)
		}
		if out := l.packets(); len(out) != 0 {
			t.Errorf("sent %v, want nothing", out)
		}
	})
}

// Only an address seen in a fresh Allocate over UDP, under the page's own
// credential for this, is pushed to.
func TestOnlyAnAddressJustSeenIsPushedTo(t *testing.T) {
	victim := netip.MustParseAddrPort("192.0.2.66:53")
	at := netip.AddrPortFrom(s1, 3478)
	for what, allocate := range map[string]func(l *lab, label string){
		"none": func(*lab, string) {},
		"another page's": func(l *lab, _ string) {
			_, other := l.begin()
			l.Allocated(Allocation{other, victim, at, "udp", time.Time{}})
		},
		"an unknown credential": func(l *lab, _ string) { l.Allocated(Allocation{"nat-0-f", victim, at, "udp", time.Time{}}) },
		"the other credential": func(l *lab, label string) {
			l.Allocated(Allocation{strings.TrimSuffix(label, filteringLabel), browser, at, "udp", time.Time{}})
		},
		"over TCP": func(l *lab, label string) { l.Allocated(Allocation{label, browser, at, "tcp", time.Time{}}) },
		"of another family": func(l *lab, label string) {
			l.Allocated(Allocation{label, netip.MustParseAddrPort("[2001:db8::7]:4000"), at, "udp", time.Time{}})
		},
		"too old": func(l *lab, label string) {
			l.Allocated(Allocation{label, browser, at, "udp", time.Time{}})
			time.Sleep(allocateFresh + time.Millisecond)
		},
		"at another address of the server": func(l *lab, label string) {
			l.Allocated(Allocation{label, browser, netip.MustParseAddrPort("203.0.113.99:3478"), "udp", time.Time{}})
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, s1, s2)
				defer l.Close()
				id, label := l.begin()
				allocate(l, label)
				if code := l.post("/v1/nat/"+id+"/v4/checks", l.page, nil); code != 409 {
					t.Errorf("got %d, want 409", code)
				}
				time.Sleep(runLife)
				if out := l.packets(); len(out) != 0 {
					t.Errorf("sent %v, want nothing", out)
				}
			})
		})
	}
}

// Whatever a page does, it gets few and short packets, for a short time, and
// none goes to another address.
func TestPushesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s1, s2)
		defer l.Close()
		l.page = credentials{strings.Repeat("u", maxUfrag), strings.Repeat("p", maxPwd)}
		l.pass = func(netip.AddrPort) bool { return false }
		begun := time.Now()
		id := l.start()
		for range 100 { // it asks, and sends checks from everywhere, for long
			var again struct{ credentials }
			if l.post("/v1/nat/"+id+"/v4/checks", l.page, &again) == 200 {
				l.own = again.credentials
			}
			for _, from := range []string{browser.String(), "198.51.100.7:41000", "192.0.2.66:53"} {
				select {
				case l.live[s1].in <- packetIn{l.check(), netip.MustParseAddrPort(from)}:
				case l.live[s1].in <- packetIn{l.checkOf("another"), netip.MustParseAddrPort(from)}:
				default:
				}
				l.Heard(netip.AddrPortFrom(s2, 3479), l.check(), netip.MustParseAddrPort(from))
			}
			time.Sleep(100 * time.Millisecond)
		}
		out := l.packets()
		t.Logf("%d packets", len(out))
		if len(out) == 0 || len(out) > 3*roundCount+maxReplies {
			t.Errorf("sent %d packets, want 1 to %d", len(out), 3*roundCount+maxReplies)
		}
		for _, p := range out {
			if p.to.Addr() != browser.Addr() || p.to != browser && p.raw[0] != 1 || p.size > 120 || p.at.Sub(begun) > runLife {
				t.Errorf("sent %d bytes to %s after %s, want at most 120 to %s within %s", p.size, p.to, p.at.Sub(begun), browser, runLife)
			}
		}
		var got struct{ Rounds nattest.Rounds }
		if l.post("/v1/nat/"+id+"/v4/disturb", nil, &got); got.Rounds.ControlOK != 0 {
			t.Errorf("got %+v from a page that answered nothing", got.Rounds)
		}
		if len(l.runs) != 0 || len(l.sent) != 0 {
			t.Errorf("left behind: %d runs and %d checks", len(l.runs), len(l.sent))
		}
	})
}

// An answer counts once, and on the socket that its check left from.
func TestAnswersCountOnce(t *testing.T) {
	now, page, own := time.Now(), credentials{"abcd", "abcdefghijklmnopqrstuv"}, newCredentials()
	r := newRounds(now, page, own, browser, true, true)
	r.control, r.first = browser, now
	out, _, _ := r.next(now)
	for _, o := range out {
		for v := via(0); v < viaCount; v++ {
			if v != o.via {
				r.answered(o.id, v, now)
			}
		}
	}
	if want := (nattest.Rounds{Sent: 1}); r.counts != want {
		t.Errorf("answers on other sockets: got %+v, want %+v", r.counts, want)
	}
	for range 2 {
		for _, o := range out {
			r.answered(o.id, o.via, now)
		}
		r.answered(transaction{1}, viaBoth, now)
	}
	if want := (nattest.Rounds{Sent: 1, ControlOK: 1, ChangedPortOK: 1, ChangedBothOK: 1}); r.counts != want {
		t.Errorf("answers twice: got %+v, want %+v", r.counts, want)
	}
}

// Where unsolicited packets change the mapping towards their sender, the page's
// own check there shows it.
func TestDisturbedMappingIsSeen(t *testing.T) {
	for _, after := range []netip.AddrPort{browser, netip.MustParseAddrPort("198.51.100.7:6747")} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, s1, s2)
			defer l.Close()
			l.pass = func(from netip.AddrPort) bool { return from.Port() == 50000 }
			id := l.start()
			var got struct{ Candidates []netip.AddrPort }
			l.post("/v1/nat/"+id+"/v4/rounds", nil, &got)
			far := netip.AddrPortFrom(s2, 3479)
			if len(got.Candidates) != 2 || got.Candidates[1] != far {
				t.Fatalf("got candidates %v, want the last to be %s", got.Candidates, far)
			}
			l.Heard(far, l.check(), after)
			l.post("/v1/nat/"+id+"/v4/disturb", nil, nil)
			f := l.session(id).filtering(0)
			if !f.Tested || f.Base != browser || f.After != after || f.At != far || !f.BothSent {
				t.Errorf("got %+v, want it to come from %s", f, after)
			}
		})
	}
}

// Another connection of the page is told the address that it comes from, and
// that is all; what comes from elsewhere is told nothing.
func TestAnotherConnectionLearnsItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s1, s2)
		defer l.Close()
		l.mute = true
		l.start()
		other := netip.AddrPortFrom(browser.Addr(), 41000)
		l.live[s1].arrive(l.checkOf("another"), netip.MustParseAddrPort("192.0.2.66:53"))
		for range 2 * maxReplies {
			l.live[s1].arrive(l.checkOf("another"), other)
			synctest.Wait()
		}
		out := l.packets()
		if len(out) != maxReplies {
			t.Fatalf("sent %d packets, want %d", len(out), maxReplies)
		}
		for _, p := range out {
			m := &stun.Message{Raw: p.raw}
			var mapped stun.XORMappedAddress
			if m.Decode() != nil || m.Type != stun.BindingSuccess || mapped.GetFrom(m) != nil || stun.NewShortTermIntegrity(l.own.Pwd).Check(m) != nil {
				t.Fatalf("sent %x, want an answer with integrity", p.raw)
			}
			if p.to != other || mapped.String() != other.String() || p.size > len(l.checkOf("another")) {
				t.Errorf("told %s that it comes from %s in %d bytes, want %s", p.to, &mapped, p.size, other)
			}
		}
	})
}
