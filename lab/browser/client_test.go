//go:build linux

package browser

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"turnkey/lab/need"
	"turnkey/lab/program"
)

type nodeInput struct {
	URL      string   `json:"url"`
	Key      string   `json:"key"`
	Program  string   `json:"program"`
	Stride   int      `json:"stride"`
	Browsers []string `json:"browsers"`
}

// turnkey.js in Node, alone and with browsers: whatever is cut, the call comes
// up, and what was sent arrives once and in order.
func TestClientInNode(t *testing.T) {
	const key = "the-key-of-the-operator"
	in := nodeInput{URL: url, Key: key, Program: program.Binary(t), Stride: 9, Browsers: []string{"chromium"}}
	if need.Long() {
		in.Stride, in.Browsers = 1, []string{"chromium", "firefox"}
	}
	var got struct {
		Error    string
		Failures []string
		Total    int
		Points   []int
	}
	// node-datachannel now and then blocks the whole process in its own code, in
	// one run of four here. That is no fault of the client, and shows in the words
	// of the script's watchdog; a loop in the client would show each time. Another
	// try has a server of its own, on which nobody who was killed is still away.
	// node-datachannel leaves its relays to time out.
	attempt := func() error {
		_, host := start(t, allowClients, "TURNKEY_PEERS_PER_IP=1000", "TURNKEY_API_KEY="+key,
			"TURNKEY_RELAY_PORTS=40000-49999", "TURNKEY_MAX_ALLOCATIONS_PER_IP=0")
		return try(t, host, "client-node.mjs", in, &got)
	}
	err := attempt()
	for again := 0; again < 3 && err != nil && strings.Contains(err.Error(), "the process is blocked"); again++ {
		t.Logf("again: %v", err)
		err = attempt()
	}
	if err != nil {
		t.Fatal(err)
	}
	if got.Error != "" {
		t.Fatal(got.Error)
	}
	for _, f := range got.Failures {
		t.Error(f)
	}
	// A set-up is a join, a welcome, an offer or an answer, candidates, and twenty
	// numbers each way, with a point before and one after each.
	if want := 2 * 40; len(got.Points) != 2 || min(got.Points[0], got.Points[1]) < want {
		t.Errorf("got %v points to cut a set-up at, want %d at least", got.Points, want)
	}
	t.Logf("%d set-ups", got.Total)
}

// The examples of the documentation as pages, and calls whose way to the server
// is cut.
func TestClientInPages(t *testing.T) {
	_, host := start(t, allowClients)
	root, err := program.Root()
	if err != nil {
		t.Fatal(err)
	}
	examples := make(map[string]string)
	for name, most := range map[string]int{"call": 10, "group": 20} {
		b, err := os.ReadFile(filepath.Join(root, "docs", "examples", name+".html"))
		if err != nil {
			t.Fatal(err)
		}
		examples[name] = string(b)
		if n := strings.Count(examples[name], "\n"); n > most {
			t.Errorf("%s.html has %d lines, want %d at most", name, n, most)
		}
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), examples["call"]) {
		t.Error("README.md has another call than call.html")
	}
	in := struct {
		URL      string            `json:"url"`
		Examples map[string]string `json:"examples"`
		Group    int               `json:"group"`
		Hidden   bool              `json:"hidden"`
	}{url, examples, 3, need.Long()}
	if need.Long() {
		in.Group = 8
	}
	var got struct {
		Error string
		Steps []string
	}
	Run(t, host, "client-pages.mjs", in, &got)
	if got.Error != "" {
		t.Fatalf("after %v: %s", got.Steps, got.Error)
	}
	if steps, want := strings.Join(got.Steps, ", "), "call, group, cut while it is set up, cut during a call"; steps != want {
		t.Errorf("got steps %q, want %q", steps, want)
	}
}

// turnkey.d.ts says what turnkey.js has: a program that uses it compiles, one
// that misuses it does not, and no name is in one file alone.
func TestClientTypes(t *testing.T) {
	t.Parallel()
	need.Programs(t, "node")
	need.Path(t, filepath.Join("node_modules", "typescript"), "run ci/deps.sh")
	out, err := exec.CommandContext(t.Context(), "node", "client-types.mjs").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "" {
		t.Errorf("%v: %s", err, out)
	}
}
