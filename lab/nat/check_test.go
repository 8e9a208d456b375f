//go:build linux

package nat

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"turnkey/lab/netns"
	"turnkey/lab/program"
)

// checkReport holds the members of check's report that the lab judges.
type checkReport struct {
	OK     bool
	Checks []item
}

type item struct {
	Name, Target, State, Reason, Hint string
	TURN                              *struct {
		Failed string
		Code   int
	}
}

// want is what check has to say of one broken server.
type want struct {
	failed    map[string]string // name and target of an item, or what they begin with -> its stage, if it is TURN that fails at one, and a part of its reason or hint
	warned    map[string]string // the same of warnings, which need no stage
	notTested []string          // names of items
	either    []string          // names of items that chance decides about
}

const (
	udpURL    = "turn turn:" + server + ":3478?transport=udp"
	tcpURL    = "turn turn:" + server + ":3478?transport=tcp"
	stunPort  = "stun " + server + ":3478"
	altPort   = "stun " + server + ":3479"
	stunPort2 = "stun " + server2 + ":3478"
	altPort2  = "stun " + server2 + ":3479"
)

// checkCase is one thing that is broken, on the way or on the server.
type checkCase struct {
	name  string
	rules string // of a router between the client and everything else
	host  string // "": the first server
	key   string // "": the right one
	full  bool   // measures, too
	six   bool   // the client has IPv6
	want  want
}

// relayPorts closes them to what begins there: a client's own port may be in
// the same range.
const relayPorts = "udp dport 49160-49359 ct state new drop"

var onTheWay = []checkCase{
	{name: "all is well", full: true},
	{name: "relay ports closed", rules: relayPorts,
		want: want{failed: map[string]string{"relay_ports": "open UDP 49160-49359 (TURNKEY_RELAY_PORTS)"}}},
	{name: "relay ports closed on the way out", rules: `iifname "wan0" udp sport 49160-49359 drop`,
		want: want{failed: map[string]string{"relay_ports": "none comes back; the server's firewall lets packets in"}}},
	{name: "TCP closed", rules: "tcp dport 3478 reject with tcp reset",
		want: want{failed: map[string]string{tcpURL: "connect nothing listens on TCP port 3478"}}},
	{name: "TCP dropped", rules: "tcp dport 3478 drop",
		want: want{failed: map[string]string{tcpURL: "connect open TCP port 3478"}}},
	{name: "UDP dropped", rules: "udp dport 3478 drop",
		want: want{failed: map[string]string{udpURL: "challenge open UDP port 3478", stunPort: "open UDP port 3478", stunPort2: "open UDP port 3478"}, notTested: []string{"relay_ports"}}},
	{name: "UDP rejected", rules: "udp dport 3478 reject",
		want: want{failed: map[string]string{udpURL: "challenge open UDP port 3478", stunPort: "open UDP port 3478", stunPort2: "open UDP port 3478"}, notTested: []string{"relay_ports"}}},
	{name: "all UDP dropped, TCP works", rules: "meta l4proto udp drop",
		want: want{failed: map[string]string{udpURL: "challenge open UDP port 3478", "stun ": "open UDP port 347"}, notTested: []string{"relay_ports"}}},
	{name: "second STUN port dropped", rules: "udp dport 3479 drop",
		want: want{failed: map[string]string{altPort: "open UDP port 3479", altPort2: "open UDP port 3479"}}},
	{name: "TURN dropped, STUN answered", rules: "udp dport 3478 @th,64,16 0x0003 drop",
		want: want{failed: map[string]string{udpURL: "challenge UDP port 3478 is open, for STUN is answered there"}}},
	{name: "HTTP closed", rules: "tcp dport 8080 reject with tcp reset",
		want: want{failed: map[string]string{"http": "TURNKEY_HTTP"}, notTested: []string{"turn", "websocket"}}},
	{name: "HTTP dropped", rules: "tcp dport 8080 drop",
		want: want{failed: map[string]string{"http": "TURNKEY_HTTP"}, notTested: []string{"turn", "websocket"}}},
	{name: "wrong key", key: "a-key-of-somebody-else",
		want: want{failed: map[string]string{"ice": "TURNKEY_API_KEY"}, notTested: []string{"turn"}}},
	{name: "packets get lost", rules: `iifname "lan0" meta l4proto udp numgen random mod 100 < 30 drop`, full: true,
		want: want{failed: map[string]string{udpURL: " of 50 packets got lost"}, either: []string{"relay_ports"}}},
	{name: "long packets vanish", rules: "meta length > 1300 drop", full: true,
		want: want{warned: map[string]string{udpURL: "a path MTU black hole"}}},
	{name: "IPv6 closed", host: "both.lab:8080", six: true, rules: "meta nfproto ipv6 udp dport 3478 drop",
		want: want{failed: map[string]string{
			"turn turn:both.lab:3478?transport=udp at " + both6: "challenge open UDP port 3478",
			"stun [" + both6 + "]:3478":                         "open UDP port 3478",
		}}},
	{name: "both families", host: "both.lab:8080", six: true},
}

func TestCheckNamesTheCauseOnTheWay(t *testing.T) {
	w := newWorld(t)
	w.bothFamilies(t)
	w.check(t, "", onTheWay)
}

// check runs all cases at the same time and judges what each one said. roots
// is the file of the authorities that are trusted.
func (w *world) check(t *testing.T, roots string, cases []checkCase) {
	t.Helper()
	clients := make([]*netns.Host, len(cases))
	var open *netns.Host // behind a router that lets everything through
	for i, c := range cases {
		if c.rules == "" && !c.six && open != nil {
			clients[i] = open
			continue
		}
		h := w.behind(t, masquerade+filter("forward", c.rules))
		if clients[i] = h.client; c.six {
			w.ipv6(h)
		} else if c.rules == "" {
			open = h.client
		}
	}
	results, errs := make([]result, len(cases)), make([]error, len(cases))
	room := make(chan struct{}, 10) // two processors can do no more in time
	var wg sync.WaitGroup
	binary, names := program.Binary(t), filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(names, []byte(hosts+checkHosts), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			results[i], errs[i] = c.run(t, clients[i], binary, names, roots)
		})
	}
	wg.Wait()
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			var r checkReport
			results[i].decode(t, &r)
			c.want.compare(t, results[i].exit, r)
			results[i].within(t, slow)
		})
	}
}

// run runs check on a client that knows the names of the lab and trusts its
// authority.
func (c checkCase) run(t *testing.T, client *netns.Host, binary, names, roots string) (result, error) {
	args := []string{"check", "-json"}
	if !c.full {
		args = append(args, "-quick")
	}
	host, key := c.host, c.key
	if host == "" {
		host = api
	}
	if key == "" {
		key = apiKey
	}
	script := `mount --bind "$1" /etc/hosts && shift && exec "$@"`
	cmd := client.Command(t.Context(), "sh", append([]string{"-c", script, "sh", names, binary}, append(args, host)...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TURNKEY_API_KEY=" + key, "SSL_CERT_FILE=" + roots, "SSL_CERT_DIR=/nonexistent"}
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	begin := time.Now()
	err := cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = nil
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), stderr.String(), time.Since(begin)}, err
}

// compare judges a report: what fails is what has to, each for its cause, and
// nothing else is left out.
func (want want) compare(t *testing.T, exit int, r checkReport) {
	t.Helper()
	if code := min(len(want.failed), 1); exit != code || r.OK != (code == 0) {
		t.Errorf("got exit code %d and ok %t, want %d and %t", exit, r.OK, code, code == 0)
	}
	found := make(map[string]bool)
	for _, it := range r.Checks {
		state := "ok"
		if slices.Contains(want.notTested, it.Name) {
			state = "not_tested"
		}
		for _, expected := range []struct {
			state string
			items map[string]string
		}{{"failed", want.failed}, {"warning", want.warned}} {
			for what, why := range expected.items {
				if !strings.HasPrefix(it.Name+" "+it.Target, what) {
					continue
				}
				state, found[what] = expected.state, true
				if it.TURN != nil && state == "failed" {
					var stage string
					if stage, why, _ = strings.Cut(why, " "); it.TURN.Failed != stage {
						t.Errorf("%s: got it to fail at %q, want at %q", it.Target, it.TURN.Failed, stage)
					}
				}
				if !contains(it.Reason+"; "+it.Hint, why) {
					t.Errorf("%s: got %q and hint %q, want %q in one", it.Target, it.Reason, it.Hint, why)
				}
			}
		}
		if slices.Contains(want.either, it.Name) {
			continue
		}
		if it.Name == "turn" && state == "ok" && it.State == "warning" && strings.HasPrefix(it.Reason, "of 2.0 Mbit/s") {
			continue // a machine that does much else may fall behind
		}
		if it.State != state {
			t.Errorf("%s %s: got %s (%s; %s), want %s", it.Name, it.Target, it.State, it.Reason, it.Hint, state)
		}
	}
	for _, items := range []map[string]string{want.failed, want.warned} {
		for what := range items {
			if !found[what] {
				t.Errorf("got no item %q", what)
			}
		}
	}
}

func TestCheckFromOtherPlaces(t *testing.T) {
	w := newWorld(t)
	home := w.behind(t, symmetric)
	for _, tt := range []struct {
		name string
		got  result
		want want
	}{
		{"behind a symmetric NAT", turnkey(t, home.client, apiKey, "check", "-quick", "-json", api), want{}},
		{"without a key", turnkey(t, home.client, "", "check", "-quick", "-json", api), want{notTested: []string{"ice", "turn"}}},
		{"on the server's own machine", turnkey(t, w.machine, apiKey, "check", "-quick", "-json", api), want{notTested: []string{"relay_ports"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r checkReport
			tt.got.decode(t, &r)
			tt.want.compare(t, tt.got.exit, r)
			tt.got.within(t, usual)
		})
	}
}

// The text is the result first, and short enough for a mail of cron.
func TestCheckTextIsShort(t *testing.T) {
	w := newWorld(t)
	client, _ := w.outside(t)
	got := turnkey(t, client, apiKey, "check", api)
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	if got.exit != 0 || !strings.HasPrefix(lines[0], "OK: "+server+" passes ") || len(lines) > 25 {
		t.Errorf("got exit code %d and %d lines:\n%s", got.exit, len(lines), got.out)
	}
	for _, line := range lines {
		if len([]rune(line)) > 80 {
			t.Errorf("got a line of %d columns: %s", len([]rune(line)), line)
		}
	}
	if !contains(got.out, "loss 0 %") || !contains(got.out, "1472 bytes") {
		t.Errorf("got no measurement in:\n%s", got.out)
	}
}
