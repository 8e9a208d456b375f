//go:build linux

package program

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Main is the TestMain of a package that starts the program: it runs the
// tests, then removes the binary that they built.
func Main(m *testing.M) {
	code := m.Run()
	if dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// Binary returns the path of the program, built on first use: as a release
// would have it, or, with LAB_RACE=1, with the race detector, which gives a
// program that raced the exit status 66. LAB_PROGRAM names a binary to take
// instead.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	dir    string // of the binary; removed by Main
	binary = sync.OnceValues(build)
)

func build() (string, error) {
	if path := os.Getenv("LAB_PROGRAM"); path != "" {
		return filepath.Abs(path)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "tk-program-"); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "turnkey")
	flag, cgo := "-trimpath", "CGO_ENABLED=0"
	if os.Getenv("LAB_RACE") == "1" {
		flag, cgo = "-race", "CGO_ENABLED=1"
	}
	cmd := exec.CommandContext(context.Background(), "go", "build", flag, "-o", path, "./cmd/turnkey")
	cmd.Dir, cmd.Env = root, append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build ./cmd/turnkey: %w: %s", err, out)
	}
	return path, nil
}

// Root returns the directory of go.mod.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find go.mod: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}
