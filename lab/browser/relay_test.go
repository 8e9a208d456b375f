//go:build linux

package browser

import (
	"strings"
	"testing"
	"time"

	"turnkey/lab/netns"
	"turnkey/lab/program"
)

func TestMain(m *testing.M) { program.Main(m) }

const server = "203.0.113.10" // the server's address

// start runs the program on a host and returns it with another host for the
// browsers. Browsers gather no candidates without a default route.
func start(t *testing.T, env ...string) (*program.Program, *netns.Host) {
	t.Helper()
	n := netns.New(t)
	wan := n.Switch("wan")
	a, b := n.Host("server"), n.Host("browsers")
	a.Join(wan, "eth0", server+"/24")
	b.Join(wan, "eth0", "203.0.113.20/24")
	b.Route("default", "via", server)
	env = append([]string{
		"TURNKEY_PUBLIC_IP=" + server,
		"TURNKEY_SECRET=a-secret-of-the-browser-lab",
		"TURNKEY_AUTH=open",
	}, env...)
	return program.Start(t, program.Config{Host: a, Env: env}), b
}

type relayInput struct {
	URL       string   `json:"url"`
	Browsers  []string `json:"browsers"`
	Transport string   `json:"transport"`
	Messages  int      `json:"messages"`
	Size      int      `json:"size"`
	Spoil     bool     `json:"spoil"`
}

type relayResult struct {
	Error string
	Sides []struct {
		Label, URL    string
		Received      int
		Local, Remote string // types of the selected candidates
		RelayProtocol string // between browser and server; as getStats tells it
	}
}

func TestDataChannelOverRelay(t *testing.T) {
	p, host := start(t)
	url := "http://" + server + ":8080/"
	pairs := [][]string{{"chromium", "chromium"}, {"firefox", "firefox"}, {"chromium", "firefox"}}
	sessions := 0
	for _, pair := range pairs {
		for _, transport := range []string{"udp", "tcp"} {
			t.Run(strings.Join(pair, "-")+"/"+transport, func(t *testing.T) {
				in := relayInput{URL: url, Browsers: pair, Transport: transport, Messages: 200, Size: 1000}
				var got relayResult
				Run(t, host, "relay.mjs", in, &got)
				checkSides(t, in, got)
				sessions += len(got.Sides)
				if !t.Failed() {
					checkSessions(t, p, in, got, sessions)
				}
			})
		}
	}
}

// checkSides checks what the pages say.
func checkSides(t *testing.T, in relayInput, got relayResult) {
	t.Helper()
	if got.Error != "" {
		t.Fatalf("the browsers report: %s", got.Error)
	}
	if len(got.Sides) != 2 {
		t.Fatalf("got results of %d sides, want 2", len(got.Sides))
	}
	for _, side := range got.Sides {
		if want := in.Messages * in.Size; side.Received != want {
			t.Errorf("%s received %d bytes, want %d", side.Label, side.Received, want)
		}
		if side.Local != "relay" || side.Remote != "relay" {
			t.Errorf("%s: selected pair is %s to %s, want relay to relay", side.Label, side.Local, side.Remote)
		}
		if side.RelayProtocol != in.Transport {
			t.Errorf("%s: relay protocol is %q, want %q (%s)", side.Label, side.RelayProtocol, in.Transport, side.URL)
		}
	}
}

// checkSessions checks that the server counted the messages of both sides in
// sessions of the right transport. n sessions have ended since the start.
func checkSessions(t *testing.T, p *program.Program, in relayInput, got relayResult, n int) {
	t.Helper()
	ended := p.Log.Await(t, "session ended", n, 10*time.Second)
	counted := make(map[string]program.Record)
	for _, session := range ended[n-len(got.Sides):] {
		counted[session.Text("label")] = session
	}
	for _, side := range got.Sides {
		session := counted[side.Label]
		if session.Text("transport") != in.Transport {
			t.Errorf("session %s: got transport %q, want %q", side.Label, session.Text("transport"), in.Transport)
		}
		// On the wire the messages travel with SCTP's and DTLS's headers and
		// with acknowledgements: more, but not twice as much.
		least := float64(in.Messages * in.Size)
		for _, name := range []string{"bytesIn", "bytesOut"} {
			if n := session.Number(name); n < least || n > 2*least {
				t.Errorf("session %s: got %s %.0f, want %.0f to %.0f", side.Label, name, n, least, 2*least)
			}
		}
	}
}

// The lab can fail: with a wrong credential there is no relay.
func TestWrongCredentialGathersNothing(t *testing.T) {
	_, host := start(t)
	url := "http://" + server + ":8080/"
	for _, name := range []string{"chromium", "firefox"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // Firefox takes ten seconds to give up
			in := relayInput{URL: url, Browsers: []string{name, name}, Transport: "udp", Messages: 1, Size: 1, Spoil: true}
			var got relayResult
			Run(t, host, "relay.mjs", in, &got)
			if !strings.Contains(got.Error, "no relay candidate was gathered") {
				t.Errorf("got error %q, want one about missing relay candidates", got.Error)
			}
		})
	}
}
