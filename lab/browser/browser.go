//go:build linux

// Package browser runs Node scripts that drive real browsers against a
// running program. driver.mjs is what the scripts have in common; each
// script is the half of a Go test that a page has to play.
package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"turnkey/lab/need"
	"turnkey/lab/netns"
	"turnkey/lab/program"
)

// limit is how long a script may take. It is told so, and ends a little earlier,
// to say how far it came.
func limit() time.Duration {
	if need.Long() {
		return 10 * time.Minute
	}
	return 150 * time.Second
}

// Run runs a script of this folder on h, hands it input as JSON and decodes
// its result. Whatever it leaves running ends with h.
func Run(t testing.TB, h *netns.Host, script string, input, result any) {
	t.Helper()
	if err := try(t, h, script, input, result); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

// try is Run that returns what went wrong with the script.
func try(t testing.TB, h *netns.Host, script string, input, result any) error {
	t.Helper()
	need.Programs(t, "node", "chromium", "firefox-esr")
	root, err := program.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "lab", "browser")
	need.Path(t, filepath.Join(dir, "node_modules"), "run ci/deps.sh")
	arg, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit())
	defer cancel()
	cmd := h.Command(ctx, "node", script, string(arg))
	cmd.Dir = dir
	home := tempDir(t)
	cmd.Env = append(cmd.Environ(), "HOME="+home, "TMPDIR="+home, fmt.Sprintf("LAB_LIMIT=%d", (limit()-5*time.Second).Milliseconds()))
	cmd.WaitDelay = time.Second // a killed script may leave browsers that hold its output
	out, err := output(cmd)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, result); err != nil {
		return fmt.Errorf("its result is not JSON: %w: %q", err, out)
	}
	return nil
}

// tempDir is t.TempDir for a directory in which a killed browser may still
// be writing when it is to go.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tk-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("leftover: %v", err)
		}
	})
	return dir
}

// output returns what cmd printed; its error tells what cmd complained of.
func output(cmd *exec.Cmd) ([]byte, error) {
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return nil, &scriptError{err, complaints.String()}
	}
	return out.Bytes(), nil
}

type scriptError struct {
	err        error
	complaints string
}

func (e *scriptError) Error() string { return e.err.Error() + ": " + e.complaints }
