package nattest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The map of docs/design.md has every file of the package, once, and no other.
func TestMapOfFiles(t *testing.T) {
	page := string(must(os.ReadFile("../docs/design.md")))
	_, page, _ = strings.Cut(page, "## The way of a verdict\n")
	page, _, _ = strings.Cut(page, "\n## ")
	var listed []string
	for _, row := range regexp.MustCompile(`(?m)^\| [^|]* \| ([^|]*) \|$`).FindAllStringSubmatch(page, -1) {
		for _, name := range regexp.MustCompile("`([a-z0-9]+)`").FindAllStringSubmatch(row[1], -1) {
			listed = append(listed, name[1])
		}
	}
	var files []string
	for _, path := range must(filepath.Glob("*.go")) {
		name, _, _ := strings.Cut(strings.TrimSuffix(path, ".go"), "_") // a twin for another system
		if !strings.HasSuffix(path, "_test.go") && !slices.Contains(files, name) {
			files = append(files, name)
		}
	}
	slices.Sort(listed)
	slices.Sort(files)
	if !slices.Equal(listed, files) {
		t.Errorf("the map has %q, the package %q", listed, files)
	}
}
