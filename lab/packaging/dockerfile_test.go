//go:build linux

package packaging

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// instruction is one of a Dockerfile, with its lines joined.
type instruction struct{ name, args string }

// dockerfile returns the stages of the Dockerfile, each from its FROM on.
func dockerfile(t *testing.T) [][]instruction {
	t.Helper()
	var stages [][]instruction
	var joined string
	for line := range strings.Lines(read(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		head, more := strings.CutSuffix(line, `\`)
		joined += head
		if more {
			continue
		}
		name, args, _ := strings.Cut(joined, " ")
		if joined = ""; name == "FROM" {
			stages = append(stages, nil)
		}
		if len(stages) > 0 {
			last := len(stages) - 1
			stages[last] = append(stages[last], instruction{name, strings.TrimSpace(args)})
		}
	}
	if len(stages) != 2 {
		t.Fatalf("got %d stages in the Dockerfile, want one that builds and one that runs", len(stages))
	}
	return stages
}

// all returns the arguments of every instruction of that name.
func all(stage []instruction, name string) (args []string) {
	for _, i := range stage {
		if i.name == name {
			args = append(args, i.args)
		}
	}
	return args
}

// one returns the arguments of the only instruction of that name.
func one(t *testing.T, stage []instruction, name string) string {
	t.Helper()
	args := all(stage, name)
	if len(args) != 1 {
		t.Fatalf("got %d instructions %s, want one", len(args), name)
	}
	return args[0]
}

// execForm reads the JSON list that ENTRYPOINT, CMD and HEALTHCHECK end with:
// an image without a shell can run nothing else.
func execForm(t *testing.T, args string) (argv []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(args[max(strings.Index(args, "["), 0):]), &argv); err != nil {
		t.Fatalf("%s: %v; the image has no shell", args, err)
	}
	return argv
}

// build runs the Dockerfile's own commands on the Dockerfile's own context and
// returns the directory that takes the place of /out.
func build(t *testing.T, version string) string {
	t.Helper()
	out, dir := t.TempDir(), copyContext(t)
	for _, run := range all(dockerfile(t)[0], "RUN") {
		if !strings.Contains(run, " /out/") {
			continue // it fetches what go build would fetch
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(run, " /out/", " "+out+"/"))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TARGETOS=linux", "TARGETARCH="+runtime.GOARCH, "VERSION="+version)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s\nDoes .dockerignore leave out something that is needed?", run, err, text)
		}
	}
	return out
}

// copyContext copies what .dockerignore leaves of the source.
func copyContext(t *testing.T) string {
	t.Helper()
	ignored := lines(read(t, ".dockerignore"))
	to := t.TempDir()
	source := os.DirFS(root(t))
	err := fs.WalkDir(source, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.ContainsFunc(ignored, func(pattern string) bool { return matches(pattern, name) }):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := fs.ReadFile(source, name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// matches knows the two forms of patterns that .dockerignore has: a path from
// the root, and **/ before a name at any depth.
func matches(pattern, name string) bool {
	if base, deep := strings.CutPrefix(pattern, "**/"); deep {
		pattern, name = base, path.Base(name)
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

func TestContextHasWhatIsBuiltAndNoMore(t *testing.T) {
	context := copyContext(t)
	for _, name := range []string{"go.mod", "go.sum", "cmd/turnkey/main.go", "docs/operations.md"} {
		if _, err := os.Stat(filepath.Join(context, name)); err != nil {
			t.Errorf("%s is left out", name)
		}
	}
	for _, name := range []string{".git", "lab", "configs/example.env", "configs/testdata", "cmd/turnkey/main_test.go"} {
		if _, err := os.Stat(filepath.Join(context, name)); err == nil {
			t.Errorf("%s is in it", name)
		}
	}
}
