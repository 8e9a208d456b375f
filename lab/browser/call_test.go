//go:build linux

package browser

import (
	"strings"
	"testing"
	"time"

	"turnkey/lab/netns"
	"turnkey/web"
)

// The clients' network is of special purpose: without this a relay would not
// send to a browser that uses none.
const allowClients = "TURNKEY_ALLOW_PEERS=203.0.113.0/24"

type callInput struct {
	URL      string   `json:"url"`
	Browsers []string `json:"browsers,omitempty"`
	Relay    []bool   `json:"relay,omitempty"` // for each call
	Key      string   `json:"key,omitempty"`
	Token    string   `json:"token,omitempty"`
}

// way is the selected candidate pair in the words of getStats.
type way struct{ Local, Remote, Transport string }

type pairResult struct {
	Error string
	Calls []struct {
		Relay bool
		Paths []struct {
			Shown struct {
				way
				RTT, In, Out, Sentence string
			}
			Stats way
		}
		Flows       []bool // pictures and sound came, for each side
		Loud, Muted float64
		Errors      []string
	}
}

func TestCall(t *testing.T) {
	_, host := start(t, allowClients)
	for _, pair := range [][]string{{"chromium", "chromium"}, {"chromium", "firefox"}, {"firefox", "chromium"}, {"firefox", "firefox"}} {
		t.Run(strings.Join(pair, "-"), func(t *testing.T) {
			testCalls(t, host, callInput{Browsers: pair, Relay: []bool{false, true}}, "udp")
		})
	}
}

// Where no UDP leaves the network, the panel names TCP.
func TestCallWithoutUDP(t *testing.T) {
	_, host := start(t, allowClients)
	host.NFT("add table inet t\nadd chain inet t out { type filter hook output priority 0; }\n" +
		"add rule inet t out ip daddr " + server + " meta l4proto udp drop\n")
	testCalls(t, host, callInput{Browsers: []string{"chromium", "firefox"}, Relay: []bool{true}}, "tcp")
}

// testCalls makes calls between two and checks what both sides got and saw.
func testCalls(t *testing.T, host *netns.Host, in callInput, transport string) {
	t.Helper()
	in.URL = "http://" + server + ":8080/"
	var got pairResult
	Run(t, host, "call-pair.mjs", in, &got)
	if got.Error != "" {
		t.Fatalf("the browsers report: %s", got.Error)
	}
	if len(got.Calls) != len(in.Relay) {
		t.Fatalf("got %d calls, want %d", len(got.Calls), len(in.Relay))
	}
	for _, c := range got.Calls {
		if len(c.Flows) != 2 || !c.Flows[0] || !c.Flows[1] {
			t.Errorf("relay %v: media flowed %v, want both ways", c.Relay, c.Flows)
		}
		if c.Loud < 1e-4 || c.Muted > c.Loud/100 {
			t.Errorf("relay %v: got sound energy %g before and %g after mute, want some and none", c.Relay, c.Loud, c.Muted)
		}
		for _, e := range c.Errors {
			t.Errorf("relay %v: browser console: %s", c.Relay, e)
		}
		if len(c.Paths) != 2 {
			t.Fatalf("relay %v: got paths of %d sides, want 2", c.Relay, len(c.Paths))
		}
		for side, p := range c.Paths {
			checkPath(t, c.Relay, p.Shown.way, p.Stats, transport, p.Shown.Sentence)
			if p.Shown.RTT == "" || p.Shown.In == "" || p.Shown.Out == "" {
				t.Errorf("relay %v, side %d: the panel lacks numbers: %+v", c.Relay, side, p.Shown)
			}
		}
	}
}

// checkPath checks that the panel shows the selected pair, and that the pair
// is of the kind that was asked for.
func checkPath(t *testing.T, relay bool, shown, stats way, transport, sentence string) {
	t.Helper()
	if shown != stats {
		t.Errorf("relay %v: the panel shows %+v, getStats says %+v", relay, shown, stats)
	}
	if stats.Transport != transport {
		t.Errorf("relay %v: got transport %q, want %q", relay, stats.Transport, transport)
	}
	word := "Direct"
	if relay {
		word = "Through a relay on each side"
	}
	if (stats.Local == "relay") != relay {
		t.Errorf("relay %v: got local candidate %q", relay, stats.Local)
	}
	if !strings.HasPrefix(sentence, word) {
		t.Errorf("relay %v: the panel says %q, want %q first", relay, sentence, word)
	}
}

func TestCallOfThree(t *testing.T) {
	_, host := start(t, allowClients)
	var got struct {
		Error         string
		Steps, Errors []string
	}
	in := callInput{URL: "http://" + server + ":8080/", Browsers: []string{"chromium", "firefox", "chromium"}}
	Run(t, host, "call-three.mjs", in, &got)
	if got.Error != "" {
		t.Fatalf("after %v the browsers report: %s", got.Steps, got.Error)
	}
	if steps, want := strings.Join(got.Steps, ", "), "joined, chat, relay, at once, resumed, restarted, screen"; steps != want {
		t.Errorf("got steps %q, want %q", steps, want)
	}
	for _, e := range got.Errors {
		t.Errorf("browser console: %s", e)
	}
}

func TestCallPageSaysWhyAndWhatToDo(t *testing.T) {
	const key = "a-key-of-the-browser-lab"
	p, host := start(t, allowClients, "TURNKEY_AUTH=key", "TURNKEY_API_KEY="+key, "TURNKEY_ROOM_MAX=2")
	token, err := web.Token{Room: "full", TTL: time.Hour}.Sign(key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Error                                 string
		Asked, Address, Notice, Refused, Full string
		Errors                                []string
	}
	Run(t, host, "call-refused.mjs", callInput{URL: "http://" + server + ":8080/", Key: key, Token: token}, &got)
	if got.Error != "" {
		t.Fatalf("the browsers report: %s", got.Error)
	}
	for _, c := range []struct{ what, got, want string }{
		{"without a key", got.Asked, "TURNKEY_API_KEY"},
		{"without a key", got.Asked, "auth_required"},
		{"plain http", got.Notice, "https"},
		{"plain http", got.Notice, "http://localhost:8080/call"},
		{"camera refused", got.Refused, "Allow them"},
		{"full room", got.Full, "room_full"},
		{"full room", got.Full, "TURNKEY_ROOM_MAX"},
	} {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("%s: the page says %q, want %q in it", c.what, c.got, c.want)
		}
	}
	if want := "http://" + server + ":8080/call#full"; got.Address != want {
		t.Errorf("got address %q, want %q: the token has to leave it", got.Address, want)
	}
	for _, line := range append(p.Log.All(), p.Out.All()...) {
		if strings.Contains(line, token) || strings.Contains(line, key) {
			t.Errorf("the log has the token or the key: %s", line)
		}
	}
	for _, e := range got.Errors {
		t.Errorf("browser console: %s", e)
	}
}
