//go:build linux

package packaging

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"turnkey/lab/program"
)

var update = flag.Bool("update", false, "write the table of settings into docs/operations.md instead of comparing it")

// TestOnlySettingsThatExist looks at comments too: they are there to be copied.
func TestOnlySettingsThatExist(t *testing.T) {
	var names []string
	for _, s := range settings(t) {
		names = append(names, s.Name)
	}
	files := []string{"Dockerfile", "configs/compose.yaml", "configs/turnkey.service", "docs/operations.md", "docs/coturn.md", "docs/troubleshooting.md", "README.md"}
	seen := 0
	for _, file := range files {
		for _, name := range regexp.MustCompile(`TURNKEY_[A-Z0-9_]+`).FindAllString(read(t, file), -1) {
			seen++
			if !slices.Contains(names, name) {
				t.Errorf("%s: got the setting %s, want one of turnkey config", file, name)
			}
		}
	}
	if seen < len(files) {
		t.Errorf("got %d settings in %v, want more: is this test blind?", seen, files)
	}
}

// assignments returns the settings that a file gives a value to, in comments
// too: NAME=value as in Dockerfile and unit, NAME: value as in compose.yaml.
func assignments(t *testing.T, file string) (environ []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^[ #]*(?:ENV |Environment=)?(TURNKEY_[A-Z0-9_]+)(?:=|: )(\S+)`).FindAllStringSubmatch(read(t, file), -1) {
		environ = append(environ, m[1]+"="+m[2])
	}
	return environ
}

func TestValuesAreAccepted(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"secret", "api-key"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("0123456789abcdef\n"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	stand := strings.NewReplacer("=%d/", "="+dir+"/", "=/state", "="+dir, "${TURNKEY_API_KEY:?run", "0123456789abcdef")
	for _, file := range []string{"Dockerfile", "configs/compose.yaml", "configs/turnkey.service"} {
		cmd := exec.CommandContext(t.Context(), program.Binary(t), "serve", "-check")
		cmd.Env = []string{"CREDENTIALS_DIRECTORY=" + dir}
		given := assignments(t, file)
		for _, a := range given {
			cmd.Env = append(cmd.Env, stand.Replace(a))
		}
		if out, err := cmd.CombinedOutput(); err != nil || len(given) == 0 {
			t.Errorf("%s: %d values, %v\n%s", file, len(given), err, out)
		}
	}
}

// TestDocumentListsEverySetting compares the table in docs/operations.md with
// the program; -update writes it.
func TestDocumentListsEverySetting(t *testing.T) {
	var want strings.Builder
	want.WriteString("| setting | default | meaning |\n|---|---|---|\n")
	for _, s := range settings(t) {
		value := "unset"
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", s.Name, value, strings.ReplaceAll(s.Doc, "|", `\|`))
	}
	const file = "docs/operations.md"
	text := read(t, file)
	got := regexp.MustCompile(`(?m)^\| setting \|.*\n(?:\|.*\n)+`).FindString(text)
	if got == "" {
		t.Fatalf("%s has no table with the head | setting | default | meaning |", file)
	}
	if got == want.String() {
		return
	}
	if !*update {
		t.Fatalf("the table in %s is not what the program says: run go test ./lab/packaging -run %s -update\nonly in the table:\n%s\nmissing there:\n%s",
			file, t.Name(), without(got, want.String()), without(want.String(), got))
	}
	if err := os.WriteFile(filepath.Join(root(t), file), []byte(strings.Replace(text, got, want.String(), 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// without returns the lines of text that other has not.
func without(text, other string) string {
	there := lines(other)
	return strings.Join(slices.DeleteFunc(lines(text), func(line string) bool { return slices.Contains(there, line) }), "\n")
}

// TestDocumentListsEveryEnd compares the reasons of 'session ended' with those
// that the source declares.
func TestDocumentListsEveryEnd(t *testing.T) {
	sources, err := filepath.Glob(filepath.Join(root(t), "turnsrv", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	text, seen := read(t, "docs/operations.md"), 0
	for _, source := range sources {
		data, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^\tEnd[A-Z]\w*\s*=\s*"([^"]+)"`).FindAllSubmatch(data, -1) {
			seen++
			if !strings.Contains(text, "`"+string(m[1])+"`") {
				t.Errorf("docs/operations.md does not say what it means that a session ended for the reason %q", m[1])
			}
		}
	}
	if seen == 0 {
		t.Error("no reasons in turnsrv: is this test blind?")
	}
}
