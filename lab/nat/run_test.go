//go:build linux

package nat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"turnkey/lab/netns"
	"turnkey/lab/program"
)

// How long a command may take at most.
const (
	prompt  = time.Second      // where nothing is blocked
	usual   = 2 * time.Second  // the same, on a machine that does much else
	blocked = 6 * time.Second  // where something is silent: five seconds of testing
	slow    = 15 * time.Second // whatever happens
)

// hosts are the names that a machine of the lab knows.
const hosts = server + " turn.lab\n" + server2 + " turn.lab\n" + server + " dual.lab\n" + server6 + " dual.lab\n" +
	server6 + " six.lab\n" + server62 + " six.lab\n" + prefix64 + "::" + server + " nat64.lab\n" + prefix64 + "::" + server2 + " nat64.lab\n" +
	secureIP + " secure.lab\n"

// result is what a command said.
type result struct {
	exit        int
	out, stderr string
	took        time.Duration
}

// turnkey runs the program on h, as somebody would who has nothing but the
// names of the lab and, if key is not empty, a key.
func turnkey(t *testing.T, h *netns.Host, key string, args ...string) result {
	t.Helper()
	r := turnkeyAtLeisure(t, h, key, args...)
	r.within(t, slow)
	return r
}

// turnkeyAtLeisure is turnkey for what takes long by its nature.
func turnkeyAtLeisure(t *testing.T, h *netns.Host, key string, args ...string) result {
	t.Helper()
	var env []string
	if key != "" {
		env = append(env, "TURNKEY_API_KEY="+key)
	}
	return turnkeyIn(t, h, env, args...)
}

// turnkeyIn runs the program on h with an environment.
func turnkeyIn(t *testing.T, h *netns.Host, env []string, args ...string) result {
	t.Helper()
	names := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(names, []byte(hosts), 0o644); err != nil {
		t.Fatal(err)
	}
	// Only this process and its children see the other /etc/hosts.
	script := `mount --bind "$1" /etc/hosts && shift && exec "$@"`
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // one of a pair waits for the other for ever
	defer cancel()
	cmd := h.Command(ctx, "sh", append([]string{"-c", script, "sh", names, program.Binary(t)}, args...)...)
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"))
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	begin := time.Now()
	err := cmd.Run()
	r := result{cmd.ProcessState.ExitCode(), out.String(), stderr.String(), time.Since(begin)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("turnkey %v: %v", args, err)
	}
	t.Logf("turnkey %v: exit code %d after %s\n%s", args, r.exit, r.took.Round(time.Millisecond), r.stderr)
	return r
}

// decode reads a report, of which v names the members of interest.
func (r result) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.out), v); err != nil {
		t.Fatalf("got %v, want JSON: %s", err, r.out)
	}
}

// within checks how long the command took.
func (r result) within(t *testing.T, limit time.Duration) {
	t.Helper()
	if r.took > limit {
		t.Errorf("took %s, want less than %s", r.took, limit)
	}
}

// contains looks for words in a text that is broken into lines.
func contains(text, words string) bool {
	return strings.Contains(strings.Join(strings.Fields(text), " "), words)
}

// keep writes a report to a file, to be looked at, and returns its name.
func keep(t *testing.T, out string) string {
	t.Helper()
	f, err := os.CreateTemp("", "tk-report-*.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(out); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}
