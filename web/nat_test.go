package web

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

func TestNATPage(t *testing.T) {
	h := New(Config{})
	page := do(t, h, to("GET", "/nat"))
	if got := page.Header().Get("Content-Type"); page.Code != 200 || !strings.HasPrefix(got, "text/html") {
		t.Fatalf("got %d %q, want a page", page.Code, got)
	}
	html := page.Body.String()
	for _, bad := range []string{"<script>", "style=", "onclick=", "http:", "https:"} {
		if strings.Contains(html, bad) {
			t.Errorf("the page has %q, which its policy forbids", bad)
		}
	}
	if !strings.Contains(do(t, h, to("GET", "/")).Body.String(), `href="/nat"`) {
		t.Error("the landing page has no link to the NAT test")
	}
	scripts, err := fs.Glob(files, "static/nat*.js")
	if err != nil || len(scripts) < 6 {
		t.Fatalf("got scripts %v, %v", scripts, err)
	}
	found := 0
	served := func(path string) {
		if found++; do(t, h, to("GET", path)).Code != 200 {
			t.Errorf("%s is not served", path)
		}
	}
	for _, m := range regexp.MustCompile(`(?:href|src)="(/[^"#]*)"`).FindAllStringSubmatch(html, -1) {
		served(m[1])
	}
	for _, name := range scripts {
		source, _ := fs.ReadFile(files, name)
		for _, m := range regexp.MustCompile(`from "\.?(/[^"]+)"`).FindAllStringSubmatch(string(source), -1) {
			served(m[1])
		}
		for _, m := range regexp.MustCompile(`\bat\("([^"]+)"\)`).FindAllStringSubmatch(string(source), -1) {
			if found++; !strings.Contains(html, `id="`+m[1]+`"`) {
				t.Errorf("%s looks for #%s, which the page lacks", name, m[1])
			}
		}
		for _, bad := range []string{"innerHTML", "http://", "https://", "eval("} { // but for the name of a namespace
			if strings.Contains(strings.ReplaceAll(string(source), "http://www.w3.org/2000/svg", ""), bad) {
				t.Errorf("%s has %s", name, bad)
			}
		}
	}
	if found < 40 {
		t.Errorf("got %d references, want the page's and the scripts'", found)
	}
}
