package visitor

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v3"
	"turnkey/nattest"
)

// What the page says of its addresses counts for the endpoints alone that were
// asked from there.
func TestMappingIsWhatTheServerSaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s1, s2)
		defer l.Close()
		id, _ := l.begin()
		v := l.session(id)
		a, b, forged := browser, netip.MustParseAddrPort("198.51.100.7:41000"), netip.MustParseAddrPort("192.0.2.66:9")
		request := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
		for i, from := range []netip.AddrPort{a, a, b} { // the fourth endpoint is silent
			l.Heard(v.endpoints[i].Bound, request, from)
		}
		o := observation{Trials: []trialSeen{{
			Host:  []candidate{{"0b7a4c1e.local", 40000}, {"x.local", 9}},
			Srflx: []candidate{{a.Addr().String(), a.Port()}, {b.Addr().String(), b.Port()}, {"192.0.2.66", 9}, {"no address", 4}, {"0.0.0.0", 5}, {"2001:db8::1", 7}},
		}}}
		f := l.family(v, o, 0)
		want := nattest.Trial{Local: netip.MustParseAddrPort("0.0.0.0:40000"), Answers: []nattest.Answer{
			{Endpoint: v.endpoints[0].At, Mapped: a, Sends: 1}, {Endpoint: v.endpoints[1].At, Mapped: a, Sends: 1},
			{Endpoint: v.endpoints[2].At, Mapped: b, Sends: 1}, {Endpoint: v.endpoints[3].At, Sends: 1},
		}}
		if len(f.Trials) != 1 || !reflect.DeepEqual(f.Trials[0], want) {
			t.Errorf("got %+v, want %+v", f.Trials, want)
		}
		if l.sightings.seen(forged, v.endpoints[0].Bound, time.Hour) {
			t.Error("an address that never asked was seen")
		}
		time.Sleep(sightingFresh + time.Second)
		if f := l.family(v, o, 0); f.Trials[0].Answers[0].Mapped.IsValid() {
			t.Error("an old request counts")
		}
	})
}

// Silence in a family that the page did not come by is no evidence.
func TestSilenceOfAFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		six := netip.MustParseAddr("2001:db8::10")
		l := newLab(t, s1, six)
		defer l.Close()
		id, _ := l.begin()
		v, o := l.session(id), observation{Trials: make([]trialSeen, 3)}
		if f := l.family(v, o, 0); f.Why == "" {
			t.Errorf("a browser that offers nothing: got %+v, want not tested", f)
		}
		o.Trials[1].Host = []candidate{{"x.local", 40000}}
		if f := l.family(v, o, 0); f.Why != "" || len(f.Trials) != 3 {
			t.Errorf("the family that it came by: got %+v, want trials without an answer", f)
		}
		if f := l.family(v, o, 1); f.Why == "" {
			t.Errorf("the other family: got %+v, want not tested", f)
		}
		if f := l.family(v, observation{}, 0); f.Why == "" {
			t.Errorf("no trials: got %+v, want not tested", f)
		}
	})
}

func TestFailedURLsAreExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s1)
		defer l.Close()
		id, label := l.begin()
		v := l.session(id)
		l.Allocated(Allocation{Label: v.label, Client: browser, Server: netip.AddrPortFrom(s1, 3478), Transport: "tcp"})
		l.Refused(Refusal{Label: v.label, Transport: "tls", Method: "Allocate", Code: 486, Reason: "too many"})
		l.Refused(Refusal{Label: label, Transport: "udp", Code: 403}) // of the filtering test
		failed := func(url, stage string) turnSeen { return turnSeen{URL: url, Stages: []stageSeen{{stage, false, 1}}} }
		got := v.verified([]turnSeen{
			failed("turn:x?transport=udp", "allocate"), failed("turn:x?transport=tcp", "allocate"), failed("turns:x", "allocate"),
			{URL: "turn:elsewhere", Stages: []stageSeen{{"allocate", true, 1}}},
		})
		if len(got) != 3 {
			t.Fatalf("got %+v, want the server's three URLs", got)
		}
		for i, part := range []string{"no Allocate from this page arrived over UDP", "its answer did not reach the browser", "refused Allocate: too many"} {
			if got[i].State != "failed" || got[i].Failed != "allocate" || !strings.Contains(got[i].Reason, part) {
				t.Errorf("got %+v, want %q", got[i], part)
			}
		}
		if got[2].Code != 486 {
			t.Errorf("got code %d, want 486", got[2].Code)
		}
		if got := v.verified(nil); got[0].State != nattest.NotTested {
			t.Errorf("got %+v of a page that tested nothing", got[0])
		}
	})
}

func TestSightingsForgetAndNeverInvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, at := newSightings(), netip.AddrPortFrom(s1, 3478)
		who := func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 4000)
		}
		s.add(browser, at)
		if !s.seen(browser, at, time.Second) || !s.seen(anyPort(browser.Addr()), at, time.Second) {
			t.Error("what was just seen is forgotten")
		}
		if s.seen(browser, netip.AddrPortFrom(s1, 3479), time.Hour) || s.seen(netip.AddrPortFrom(browser.Addr(), 1), at, time.Hour) {
			t.Error("another endpoint or port was seen")
		}
		for i := range 4 * sightingSlots { // a flood from forged sources
			s.add(who(i), at)
		}
		if s.seen(browser, at, time.Hour) {
			t.Log("it outlived the flood")
		}
		for i := 4 * sightingSlots; i < 8*sightingSlots; i++ {
			if s.seen(who(i), at, time.Hour) {
				t.Fatalf("%s was never there", who(i))
			}
		}
		if n := testing.AllocsPerRun(100, func() { s.add(browser, at) }); n != 0 {
			t.Errorf("got %v allocations, want 0", n)
		}
	})
}

// A request that belongs to no test costs nothing but a note.
func TestHeardDoesNotAllocate(t *testing.T) {
	l := newLab(t, s1)
	defer l.Close()
	at := netip.AddrPortFrom(s1, 3478)
	for _, m := range []*stun.Message{
		stun.MustBuild(stun.TransactionID, stun.BindingRequest), stun.MustBuild(stun.TransactionID, stun.BindingSuccess),
		stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("some:body")),
	} {
		if n := testing.AllocsPerRun(100, func() { l.Heard(at, m.Raw, browser) }); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", m.Type, n)
		}
	}
}
