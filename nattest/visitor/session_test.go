package visitor

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSessionsEndAndLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s1, s2)
		defer l.Close()
		id := l.start()
		time.Sleep(sessionLife + time.Second)
		synctest.Wait()
		if code := l.post("/v1/nat/"+id+"/v4/rounds", nil, nil); code != 404 {
			t.Errorf("after its life: got %d, want 404", code)
		}
		if len(l.sessions)+len(l.labels)+len(l.Server.live)+len(l.runs)+len(l.sent) != 0 {
			t.Errorf("left behind: %v %v %v %v %v", l.sessions, l.labels, l.Server.live, l.runs, l.sent)
		}
		if len(l.revoked) != 2 || l.revoked[1] != l.revoked[0]+filteringLabel {
			t.Errorf("revoked %v, want both labels", l.revoked)
		}
	})
}

func TestTestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s1, s2)
		defer l.Close()
		client := browser.Addr()
		l.Admit = func(*http.Request) (Guest, http.Handler) { return Guest{client, issue}, nil }
		for range maxPerNetwork {
			if code := l.post("/v1/nat", nil, nil); code != 200 {
				t.Fatalf("got %d", code)
			}
		}
		if code := l.post("/v1/nat", nil, nil); code != 429 {
			t.Errorf("one more of an address: got %d, want 429", code)
		}
		for i := len(l.sessions); i < maxSessions; i++ {
			client = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			l.post("/v1/nat", nil, nil)
		}
		client = netip.MustParseAddr("192.0.2.1")
		if code := l.post("/v1/nat", nil, nil); code != 503 {
			t.Errorf("one more than all: got %d, want 503", code)
		}
		time.Sleep(sessionLife + time.Second)
		if code := l.post("/v1/nat", nil, nil); code != 200 {
			t.Errorf("once they are over: got %d, want 200", code)
		}
	})
}

func TestFilteringTestsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s1, s2)
		defer l.Close()
		l.mute = true
		client := browser.Addr()
		l.Admit = func(*http.Request) (Guest, http.Handler) { return Guest{client, issue}, nil }
		for i := range maxRuns {
			client = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			l.start()
		}
		id, label := l.begin()
		l.Allocated(Allocation{label, browser, netip.AddrPortFrom(s1, 3478), "udp", time.Time{}})
		if code := l.post("/v1/nat/"+id+"/v4/checks", l.page, nil); code != 503 {
			t.Errorf("got %d, want 503", code)
		}
		time.Sleep(runLife)
		l.Allocated(Allocation{label, browser, netip.AddrPortFrom(s1, 3478), "udp", time.Time{}})
		if code := l.post("/v1/nat/"+id+"/v4/checks", l.page, nil); code != 200 {
			t.Errorf("once they are over: got %d, want 200", code)
		}
	})
}

func TestHostileRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s1, s2)
		defer l.Close()
		id, label := l.begin()
		l.Allocated(Allocation{label, browser, netip.AddrPortFrom(s1, 3478), "udp", time.Time{}})
		many := "[" + strings.TrimSuffix(strings.Repeat("{},", maxTrials+1), ",") + "]"
		for _, tt := range []struct {
			path, body string
			want       int
		}{
			{"/v4/checks", ``, 400},
			{"/v4/checks", `{}`, 400},
			{"/v4/checks", `[]`, 400},
			{"/v4/checks", `{"ufrag":"a:bcd","pwd":"abcdefghijklmnopqrstuv"}`, 400},
			{"/v4/checks", `{"ufrag":"abc","pwd":"abcdefghijklmnopqrstuv"}`, 400},
			{"/v4/checks", `{"ufrag":"abcd","pwd":"short"}`, 400},
			{"/v4/checks", fmt.Sprintf(`{"ufrag":%q,"pwd":"abcdefghijklmnopqrstuv"}`, strings.Repeat("a", 300)), 400},
			{"/v4/checks", fmt.Sprintf(`{"ufrag":%q,"pwd":"abcdefghijklmnopqrstuv"}`, strings.Repeat("a", maxBody)), 400},
			{"/v5/checks", `{}`, 404},
			{"/v4/rounds", `{}`, 409},
			{"/v4/other", `{}`, 409},
			{"/report", ``, 400},
			{"/report", `{"trials":` + many + `}`, 400},
			{"/report", `{"trials":[{"srflx":[{"address":"1.2.3.4","port":70000}]}]}`, 400},
			{"/report", `{"trials":[{"srflx":[{"address":"1.2.3.4","port":-1}]}]}`, 400},
			{"/report", `{"ms":1e300}`, 400},
			{"/report", `{"ms":-1}`, 400},
			{"/report", `{"turn":[{"stages":[{"name":"<script>"}]}]}`, 400},
			{"/report", `{"turn":[{"code":100000}]}`, 400},
			{"/report", strings.Repeat(" ", maxBody) + `{}`, 400},
			{"/report", strings.Repeat("[", 20000), 400},
		} {
			if got := l.postRaw("/v1/nat/"+id+tt.path, tt.body, nil); got != tt.want {
				t.Errorf("%s %.60s: got %d, want %d", tt.path, tt.body, got, tt.want)
			}
		}
		if got := l.postRaw("/v1/nat/AAAAAAAAAAAAAAAAAAAAAA/report", `{}`, nil); got != 404 {
			t.Errorf("another test: got %d, want 404", got)
		}
		if out := l.packets(); len(out) != 0 {
			t.Errorf("sent %v, want nothing", out)
		}
	})
}

func TestEventsOfAPageAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, s1, s2)
		defer l.Close()
		id, label := l.begin()
		for range 10 * maxEvents {
			l.Allocated(Allocation{label, browser, netip.AddrPortFrom(s1, 3478), "tcp", time.Time{}})
			l.Refused(Refusal{Label: label, Transport: "tcp", Code: 486})
		}
		v := l.session(id)
		if len(v.allocations) != maxEvents || len(v.refusals) != maxEvents {
			t.Errorf("kept %d and %d, want %d", len(v.allocations), len(v.refusals), maxEvents)
		}
	})
}

// What begins while the server closes has ended, too, when it is closed.
func TestCloseWaitsForWhatBegins(t *testing.T) {
	for range 20 {
		l := newLab(t, s1, s2)
		l.mute = true
		id, label := l.begin()
		l.Allocated(Allocation{label, browser, netip.AddrPortFrom(s1, 3478), "udp", time.Time{}})
		var begun sync.WaitGroup
		begun.Go(func() { l.post("/v1/nat/"+id+"/v4/checks", l.page, nil) })
		l.Close()
		begun.Wait()
		if c := l.live[s1]; c != nil {
			select {
			case <-c.closed:
			default:
				t.Fatal("a socket is still open")
			}
		}
	}
}
