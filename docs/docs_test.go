package docs

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]*)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	dropped = regexp.MustCompile(`[^a-z0-9 -]`) // from a heading, for its anchor
)

// A server shows these files and no others: what they link to is one of them,
// or has a scheme, and a link into a file names a heading of it.
func TestLinks(t *testing.T) {
	names, err := fs.Glob(Files, "*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("got %v %v, want files", names, err)
	}
	texts, anchors := make(map[string]string), make(map[string][]string)
	for _, name := range names {
		b, err := Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(b)
		for _, h := range heading.FindAllStringSubmatch(texts[name], -1) {
			anchor := dropped.ReplaceAllString(strings.ToLower(h[1]), "")
			anchors[name] = append(anchors[name], strings.ReplaceAll(anchor, " ", "-"))
		}
	}
	seen := 0
	for name, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			file, anchor, inside := strings.Cut(m[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			seen++
			if file == "" {
				file = name
			}
			if texts[file] == "" || inside && !slices.Contains(anchors[file], anchor) {
				t.Errorf("%s: nothing is at %s", name, m[1])
			}
		}
	}
	if seen < len(names) {
		t.Errorf("got %d links in %d files: is this test blind?", seen, len(names))
	}
}
