//go:build linux

// Package packaging proves what configs/ and the Dockerfile promise, as far as
// that goes without a container engine and without systemd: the program is
// built by the Dockerfile's own command and runs with nothing else around it,
// as the image's user; every setting that the files name exists and is
// accepted; and the documentation names them all.
package packaging

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"turnkey/lab/program"
)

func TestMain(m *testing.M) { program.Main(m) }

var findRoot = sync.OnceValues(program.Root)

func root(t testing.TB) string {
	t.Helper()
	dir, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// read returns a file of the source.
func read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// lines returns the lines that are neither empty nor a comment, trimmed.
func lines(text string) (list []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list
}

// setting is one of `turnkey config -json`.
type setting struct{ Name, Default, Doc string }

// settings asks the program for every setting that it has.
func settings(t *testing.T) (list []setting) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program.Binary(t), "config", "-json")
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil || len(list) == 0 {
		t.Fatalf("turnkey config -json: %v, %d settings", err, len(list))
	}
	return list
}
