package web

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

func TestCallPage(t *testing.T) {
	html := checkPage(t, "/call", "static/call*.js")
	for _, id := range []string{"enter", "join", "tiles", "log", "path-list", "mic", "cam", "screen", "leave", "copy-link", "announce"} {
		if !strings.Contains(html, `id="`+id+`"`) {
			t.Errorf("the page lacks #%s", id)
		}
	}
}

var (
	linked   = regexp.MustCompile(`(?:href|src)="(/[^"#]*)"`)
	imported = regexp.MustCompile(`from "\.?(/[^"]+)"`)
	sought   = regexp.MustCompile(`(?:\bat|getElementById)\("([^"]+)"\)`)
	// Not loaded: the name of a namespace, and advice to the reader.
	spoken = strings.NewReplacer("http://www.w3.org/2000/svg", "", "http://localhost", "")
)

// checkPage checks a page of scripts and returns its HTML: that it is there, that
// its policy lets all of it run, and that it is whole. Scripts name each other
// and parts of the page as text: a renamed one would be missed only by the
// person who opens the page.
func checkPage(t *testing.T, path, pattern string) (html string) {
	t.Helper()
	h := New(Config{})
	page := do(t, h, to("GET", path))
	if got := page.Header().Get("Content-Type"); page.Code != 200 || !strings.HasPrefix(got, "text/html") {
		t.Fatalf("got %d %q, want a page", page.Code, got)
	}
	html = page.Body.String()
	for _, bad := range []string{"<script>", "style=", "onclick=", "http:", "https:"} {
		if strings.Contains(html, bad) {
			t.Errorf("the page has %q, which its policy forbids", bad)
		}
	}
	if !strings.Contains(do(t, h, to("GET", "/")).Body.String(), `href="`+path+`"`) {
		t.Errorf("the landing page has no link to %s", path)
	}
	scripts, err := fs.Glob(files, pattern)
	if err != nil || len(scripts) < 6 {
		t.Fatalf("got scripts %v, %v", scripts, err)
	}
	found := 0
	served := func(path string) {
		found++
		if path == "/turnkey.js" { // of package client
			return
		}
		if got := do(t, h, to("GET", path)); got.Code != 200 {
			t.Errorf("%s: got %d, want 200", path, got.Code)
		}
	}
	for _, m := range linked.FindAllStringSubmatch(html, -1) {
		served(m[1])
	}
	for _, name := range scripts {
		raw, _ := fs.ReadFile(files, name)
		source := spoken.Replace(string(raw))
		for _, m := range imported.FindAllStringSubmatch(source, -1) {
			served(m[1])
		}
		for _, m := range sought.FindAllStringSubmatch(source, -1) {
			if found++; !strings.Contains(html, `id="`+m[1]+`"`) {
				t.Errorf("%s looks for #%s, which the page lacks", name, m[1])
			}
		}
		for _, bad := range []string{"innerHTML", "http://", "https://", "eval("} {
			if strings.Contains(source, bad) {
				t.Errorf("%s has %s", name, bad)
			}
		}
	}
	if found < 40 {
		t.Errorf("got %d references, want the page's and the scripts'", found)
	}
	return html
}
