//go:build linux

package browser

import (
	"strings"
	"testing"

	"turnkey/lab/need"
	"turnkey/lab/netns"
	"turnkey/lab/program"
)

func TestMain(m *testing.M) { program.Main(m) }

const (
	server = "203.0.113.10" // the server's address
	url    = "http://" + server + ":8080/"
)

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
	URL      string     `json:"url"`
	Browsers []string   `json:"browsers"`
	Ways     []relayWay `json:"ways"`
	Messages int        `json:"messages"`
	Size     int        `json:"size"`
	Spoil    bool       `json:"spoil"`
	Resolver string     `json:"resolver"` // a resolv.conf
}

type relayWay struct {
	Transport string `json:"transport"`
	Label     string `json:"label"`
	Only      string `json:"only"` // the URL to use
}

type relayResult struct {
	Error string
	Ways  [][]struct { // of two sides
		Label, URL    string
		Received      int
		Local, Remote string // types of the selected candidates
		RelayProtocol string // between browser and server; as getStats tells it
	}
}

func TestDataChannelOverRelay(t *testing.T) {
	p, host := start(t, "TURNKEY_DRAIN_TIMEOUT=1s")
	messages := 200
	if need.Long() {
		messages = 10_000
	}
	var labels []string
	pairs := [][]string{{"chromium", "chromium"}, {"firefox", "firefox"}, {"chromium", "firefox"}}
	for _, pair := range pairs {
		name := strings.Join(pair, "-")
		in := relayInput{URL: url, Browsers: pair, Messages: messages, Size: 1000}
		for _, transport := range []string{"udp", "tcp"} {
			label := name + "-" + transport
			in.Ways = append(in.Ways, relayWay{Transport: transport, Label: label})
			labels = append(labels, label+"-0", label+"-1")
		}
		t.Run(name, func(t *testing.T) { passMessages(t, host, in) })
	}
	if !t.Failed() {
		p.Stop(t) // ends what the browsers left behind
		checkSessions(t, p.Log.Records("session ended"), labels, messages*1000)
	}
}

// passMessages lets two browsers pass messages by each way, and checks what they say.
func passMessages(t *testing.T, host *netns.Host, in relayInput) {
	t.Helper()
	var got relayResult
	Run(t, host, "relay.mjs", in, &got)
	if got.Error != "" {
		t.Fatalf("the browsers report: %s", got.Error)
	}
	if len(got.Ways) != len(in.Ways) {
		t.Fatalf("got results of %d ways, want %d", len(got.Ways), len(in.Ways))
	}
	for i, way := range in.Ways {
		if len(got.Ways[i]) != 2 {
			t.Fatalf("%s: got results of %d sides, want 2", way.Label, len(got.Ways[i]))
		}
		for _, side := range got.Ways[i] {
			if want := in.Messages * in.Size; side.Received != want {
				t.Errorf("%s received %d bytes, want %d", side.Label, side.Received, want)
			}
			if side.Local != "relay" || side.Remote != "relay" {
				t.Errorf("%s: selected pair is %s to %s, want relay to relay", side.Label, side.Local, side.Remote)
			}
			if side.RelayProtocol != way.Transport {
				t.Errorf("%s: relay protocol is %q, want %q (%s)", side.Label, side.RelayProtocol, way.Transport, side.URL)
			}
		}
	}
}

// checkSessions checks that the server counted at least the bytes of the
// messages, both ways, in one session for each label, on the transport that
// the label names.
func checkSessions(t *testing.T, ended []program.Record, labels []string, bytes int) {
	t.Helper()
	sessions := make(map[string]program.Record)
	for _, session := range ended {
		label := session.Text("label")
		if sessions[label] != nil {
			t.Errorf("got two sessions %s, want one", label)
		}
		sessions[label] = session
	}
	for _, label := range labels {
		session := sessions[label]
		if transport := session.Text("transport"); transport == "" || !strings.Contains(label, "-"+transport+"-") {
			t.Errorf("session %s: got transport %q", label, transport)
		}
		// On the wire the messages travel with the headers of SCTP and DTLS,
		// with acknowledgements, and on a busy machine more than once.
		for _, name := range []string{"bytesIn", "bytesOut"} {
			if n := int(session.Number(name)); n < bytes || n > 5*bytes {
				t.Errorf("session %s: got %s %d, want %d to %d", label, name, n, bytes, 5*bytes)
			}
		}
	}
}

// The lab can fail: with a wrong credential there is no relay.
func TestWrongCredentialGathersNothing(t *testing.T) {
	_, host := start(t)
	for _, name := range []string{"chromium", "firefox"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // Firefox takes ten seconds to give up
			in := relayInput{URL: url, Browsers: []string{name, name}, Ways: []relayWay{{Transport: "udp", Label: name}}, Messages: 1, Size: 1, Spoil: true}
			var got relayResult
			Run(t, host, "relay.mjs", in, &got)
			if !strings.Contains(got.Error, "no relay candidate was gathered") {
				t.Errorf("got error %q, want one about missing relay candidates", got.Error)
			}
		})
	}
}
