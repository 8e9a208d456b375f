package web

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

func TestCallPage(t *testing.T) {
	h := New(Config{})
	page := do(t, h, to("GET", "/call"))
	if got := page.Header().Get("Content-Type"); page.Code != 200 || !strings.HasPrefix(got, "text/html") {
		t.Fatalf("got %d %q, want a page", page.Code, got)
	}
	html := page.Body.String()
	for _, bad := range []string{"<script>", "style=", "onclick=", "http:", "https:"} {
		if strings.Contains(html, bad) {
			t.Errorf("the page has %q, which its policy forbids", bad)
		}
	}
	for _, id := range []string{"enter", "join", "tiles", "log", "path-list", "mic", "cam", "screen", "leave", "copy-link", "announce"} {
		if !strings.Contains(html, `id="`+id+`"`) {
			t.Errorf("the page lacks #%s", id)
		}
	}
	if !strings.Contains(do(t, h, to("GET", "/")).Body.String(), `href="/call"`) {
		t.Error("the landing page has no link to the call page")
	}
}

// The scripts name each other and parts of the page as text: a renamed one
// would be missed only by the person who opens the page.
func TestCallPageIsWhole(t *testing.T) {
	h := New(Config{})
	html := do(t, h, to("GET", "/call")).Body.String()
	scripts, err := fs.Glob(files, "static/call*.js")
	if err != nil || len(scripts) < 5 {
		t.Fatalf("got scripts %v, %v", scripts, err)
	}
	found := 0
	expectServed := func(path string) {
		found++
		if path == "/turnkey.js" { // of package client
			return
		}
		if got := do(t, h, to("GET", path)); got.Code != 200 {
			t.Errorf("%s: got %d, want 200", path, got.Code)
		}
	}
	for _, m := range regexp.MustCompile(`(?:href|src)="(/[^"]*)"`).FindAllStringSubmatch(html, -1) {
		expectServed(m[1])
	}
	for _, name := range scripts {
		source, _ := fs.ReadFile(files, name)
		for _, m := range regexp.MustCompile(`from "\.?(/[^"]+)"`).FindAllStringSubmatch(string(source), -1) {
			expectServed(m[1])
		}
		for _, m := range regexp.MustCompile(`(?:\bat|getElementById)\("([^"]+)"\)`).FindAllStringSubmatch(string(source), -1) {
			if found++; !strings.Contains(html, `id="`+m[1]+`"`) {
				t.Errorf("%s looks for #%s, which the page lacks", name, m[1])
			}
		}
	}
	if found < 40 {
		t.Errorf("got %d references, want the page's and the scripts'", found)
	}
}
