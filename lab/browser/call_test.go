//go:build linux

package browser

import (
	"errors"
	"fmt"
	"slices"
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
	Ways     []string `json:"ways,omitempty"` // for each call: any, relay, half or direct
	Key      string   `json:"key,omitempty"`
	Token    string   `json:"token,omitempty"`
}

// way is the selected candidate pair in the words of getStats.
type way struct{ Local, Remote, Transport string }

type callPath struct {
	Shown struct {
		way
		RTT, In, Out, Sentence string
	}
	Stats struct {
		way
		Address string // of the remote candidate
	}
}

type pairResult struct {
	Error string
	Calls []struct {
		Way    string
		Paths  []callPath
		Flows  []bool                        // pictures and sound came, for each side
		Sound  struct{ Loud, Muted float64 } // of the last call
		Errors []string
	}
}

// Where any path may be taken, browsers may settle on a relayed one although the
// direct one works: Firefox tries no more once a pair is nominated. Who has no
// relays is connected directly.
func TestCall(t *testing.T) {
	const key = "a-key-of-the-browser-lab"
	_, host := start(t, allowClients, "TURNKEY_API_KEY="+key)
	token, err := web.Token{Rights: web.RightJoin, TTL: time.Hour}.Sign(key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][]string{{"chromium", "chromium"}, {"chromium", "firefox"}, {"firefox", "chromium"}, {"firefox", "firefox"}} {
		t.Run(strings.Join(pair, "-"), func(t *testing.T) {
			ways := []string{"any", "relay", "direct"}
			if pair[0] != pair[1] {
				ways = slices.Insert(ways, 0, "half")
			}
			testCalls(t, host, callInput{Browsers: pair, Ways: ways, Token: token}, "udp")
		})
	}
}

// Where no UDP leaves the network, the panel names TCP.
func TestCallWithoutUDP(t *testing.T) {
	_, host := start(t, allowClients)
	host.NFT("add table inet t\nadd chain inet t out { type filter hook output priority 0; }\n" +
		"add rule inet t out ip daddr " + server + " meta l4proto udp drop\n")
	testCalls(t, host, callInput{Browsers: []string{"chromium", "firefox"}, Ways: []string{"relay"}}, "tcp")
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
	if len(got.Calls) != len(in.Ways) {
		t.Fatalf("got %d calls, want %d", len(got.Calls), len(in.Ways))
	}
	for i, c := range got.Calls {
		if len(c.Flows) != 2 || !c.Flows[0] || !c.Flows[1] {
			t.Errorf("%s: media flowed %v, want both ways", c.Way, c.Flows)
		}
		if last := i == len(got.Calls)-1; last && (c.Sound.Loud < 1e-4 || c.Sound.Muted > c.Sound.Loud/100) {
			t.Errorf("%s: got sound energy %g before and %g after mute, want some and none", c.Way, c.Sound.Loud, c.Sound.Muted)
		}
		for _, e := range c.Errors {
			t.Errorf("%s: browser console: %s", c.Way, e)
		}
		if len(c.Paths) != 2 {
			t.Fatalf("%s: got paths of %d sides, want 2", c.Way, len(c.Paths))
		}
		for side, p := range c.Paths {
			who := []string{"Anna", "Bob"}[side]
			if err := checkPath(c.Way, side, p, transport); err != nil {
				t.Errorf("%s, %s: %v: %+v", c.Way, who, err, p)
			}
			t.Logf("%s, %s: %+v: %s", c.Way, who, p.Stats, p.Shown.Sentence)
		}
	}
}

// checkPath checks that the panel shows the selected pair and says what follows
// from it, and that the pair is of the kind that was asked for.
func checkPath(kind string, side int, p callPath, transport string) error {
	stats := p.Stats
	here := stats.Local == "relay"
	there := stats.Remote == "relay" || stats.Remote == "prflx" && stats.Address == server // where nothing else is
	relays, certain := map[string][2]bool{"relay": {true, true}, "half": {side == 0, side == 1}, "direct": {}}[kind]
	switch sentence := pathSentence(here, there, []string{"Bob", "Anna"}[side], strings.ToUpper(transport)); {
	case p.Shown.way != stats.way:
		return errors.New("the panel shows another pair than getStats")
	case stats.Transport != transport:
		return fmt.Errorf("want transport %q", transport)
	case certain && relays != [2]bool{here, there}:
		return errors.New("the path is not of that kind")
	case !strings.HasPrefix(p.Shown.Sentence, sentence):
		return fmt.Errorf("want %q", sentence)
	case p.Shown.RTT == "" || p.Shown.In == "" || p.Shown.Out == "":
		return errors.New("the panel lacks numbers")
	}
	return nil
}

// pathSentence is how the sentence has to begin, by where relays are.
func pathSentence(here, there bool, other, transport string) string {
	switch {
	case here && there:
		return "Through a relay on each side; yours is reached over " + transport
	case here:
		return "Through a relay on your side, reached over " + transport
	case there:
		return "Through a relay on the side of " + other + " over " + transport
	}
	return "Direct"
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
