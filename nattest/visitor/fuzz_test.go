package visitor

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"turnkey/nattest"
)

// Whatever a page says, a report comes of it, with the server's URLs and
// endpoints in it and nothing else's.
func FuzzObservation(f *testing.F) {
	f.Add([]byte(`{"ms":900,"trials":[{"host":[{"address":"a.local","port":40000}],"srflx":[{"address":"198.51.100.7","port":40000}],"complete":true}],` +
		`"turn":[{"url":"turn:x?transport=udp","stages":[{"name":"allocate","ok":true,"ms":3},{"name":"connect","ok":false}],"rtt_ms":2}],"local":{"v4":"host"}}`))
	f.Add([]byte(`{"trials":[{},{},{}],"local":{"v6":"srflx"}}`))
	f.Add([]byte(`null`))
	l := newLab(nil, s1, s2)
	f.Cleanup(l.Close)
	v := &session{label: "nat-1", client: browser.Addr(), begun: time.Now(), endpoints: l.Endpoints(), urls: []string{"turn:x?transport=udp"}}
	for _, e := range v.endpoints {
		l.Heard(e.Bound, stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw, browser)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseObservation(b)
		if err != nil {
			return
		}
		r := nattest.Judge(l.evidence(v, o))
		if r.Verdict.Relay == "" || len(r.TURN.URLs) != 1 || len(r.Server.STUN) != 4 || len(r.V4.Trials) > maxTrials {
			t.Errorf("%s: got %+v", b, r)
		}
	})
}

// Whatever comes to a socket is at most noted.
func FuzzHeard(f *testing.F) {
	page, own := credentials{"abcd", "abcdefghijklmnopqrstuv"}, newCredentials()
	_, check := newCheck(own, page)
	f.Add(check)
	f.Add(newReply(check, own, browser))
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("::")).Raw)
	l := newLab(nil, s1)
	f.Cleanup(l.Close)
	now := time.Now()
	f.Fuzz(func(t *testing.T, b []byte) {
		l.Heard(netip.AddrPortFrom(s1, 3478), b, browser)
		if ufrag, ok := addressee(b); ok && len(ufrag) > len(b) {
			t.Errorf("got %d bytes of %d", len(ufrag), len(b))
		}
		r := newRounds(now, page, own, browser, true, true)
		r.checked(b, browser, now)
		r.returned(b, viaBoth, browser)
		if out, _, _ := r.next(now); len(out) > 0 && !fromPage(b, page.Ufrag, own) {
			t.Errorf("%x: sent %v", b, out)
		}
	})
}
