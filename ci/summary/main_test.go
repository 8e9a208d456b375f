package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// summarize runs the tests of source, the body of a test file, and returns
// the report on them.
func summarize(t *testing.T, source string, strict bool) (report string, ok bool) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module example\n\ngo 1.26\n",
		"x_test.go": "package example\n\nimport (\"testing\"; \"os\")\n\nvar (\n_ = os.Exit\n_ testing.TB\n)\n\n" + source,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", "-json", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=")
	out, err := cmd.Output()
	if len(out) == 0 {
		t.Fatalf("go test -json printed nothing: %v", err)
	}
	var b strings.Builder
	s := newSummary(&b)
	if err := s.read(strings.NewReader(string(out))); err != nil {
		t.Fatal(err)
	}
	ok = s.close(strict)
	return b.String(), ok
}

func TestReport(t *testing.T) {
	tests := []struct {
		name, source string
		strict       bool
		want         []string
		ok           bool
	}{
		{"success", `func TestA(t *testing.T) { t.Log("chatter") }`, true,
			[]string{"ok   example TestA ", "\n1 passed, 0 failed, 0 skipped\n"}, true},
		{"failure", `func TestA(t *testing.T) { t.Run("b", func(t *testing.T) { t.Error("why") }) }; func TestC(*testing.T) {}`, false,
			[]string{"FAIL example TestA/b\n", "why", "\n1 passed, 2 failed, 0 skipped\n"}, false},
		{"skip", `func TestA(t *testing.T) { t.Skip("needs root") }; func TestB(*testing.T) {}`, false,
			[]string{"skipped:\nexample TestA\n", "needs root", "\n1 passed, 0 failed, 1 skipped\n"}, true},
		{"skip in CI", `func TestA(t *testing.T) { t.Skip("needs root") }; func TestB(*testing.T) {}`, true,
			[]string{"a skipped test is a failure", "\n1 passed, 0 failed, 1 skipped\n"}, false},
		{"build failure", `func TestA(t *testing.T) { undefinedName() }`, false,
			[]string{"undefined: undefinedName", "FAIL example", "\n0 passed, 1 failed, 0 skipped\n"}, false},
		{"panic", `func TestA(t *testing.T) { panic("boom") }`, false,
			[]string{"panic: boom", "FAIL example"}, false},
		{"exit in a test", `func TestA(t *testing.T) { os.Exit(3) }`, false,
			[]string{"FAIL example"}, false},
		{"failure outside of tests", `func TestA(*testing.T) {}; func TestMain(m *testing.M) { m.Run(); println("a leak"); os.Exit(1) }`, false,
			[]string{"a leak", "could not be tested", "\n1 passed, 1 failed, 0 skipped\n"}, false},
		{"no test", `const x = 1`, false,
			[]string{"no test ran", "\n0 passed, 0 failed, 0 skipped\n"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := summarize(t, tt.source, tt.strict)
			if ok != tt.ok {
				t.Errorf("got ok %t, want %t", ok, tt.ok)
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("report lacks %q:\n%s", want, got)
				}
			}
			if strings.Contains(got, "chatter") {
				t.Errorf("report shows the output of a test that passed:\n%s", got)
			}
		})
	}
}

func TestOtherOutputIsPassedOn(t *testing.T) {
	var b strings.Builder
	s := newSummary(&b)
	if err := s.read(strings.NewReader("go: no such module\n")); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != "go: no such module\n" {
		t.Errorf("got %q", got)
	}
}
