//go:build linux

package interop

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"turnkey/lab/program"
)

var update = flag.Bool("update", false, "write the programs into docs/clients.md instead of comparing them")

// docs/clients.md has every program of lab/interop/room, as it is: a line with the
// name, and the text in a fence after it.
func TestDocumentQuotesTheClients(t *testing.T) {
	root, err := program.Root()
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(root, "docs", "clients.md")
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	entries, err := os.ReadDir("room")
	if err != nil {
		t.Fatal(err)
	}
	languages := map[string]string{".py": "python", ".mjs": "js", ".js": "js", ".go": "go"}
	for _, e := range entries {
		name := e.Name()
		language := languages[filepath.Ext(name)]
		if language == "" || name == "drive.mjs" { // which drives a browser, and is no client
			continue
		}
		text, err := os.ReadFile(filepath.Join("room", name))
		if err != nil {
			t.Fatal(err)
		}
		before, rest, found := strings.Cut(doc, "`"+name+"`:\n\n```"+language+"\n")
		quoted, after, closed := strings.Cut(rest, "\n```\n")
		switch {
		case !found || !closed:
			t.Errorf("docs/clients.md has no line `%s`: with its text in a fence of %s after it", name, language)
		case quoted+"\n" == string(text):
		case *update:
			doc = before + "`" + name + "`:\n\n```" + language + "\n" + string(text) + "```\n" + after
		default:
			t.Errorf("docs/clients.md quotes another %s than there is; run go test ./lab/interop -run %s -update", name, t.Name())
		}
	}
	if *update {
		if err := os.WriteFile(page, []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
