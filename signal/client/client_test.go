package client

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHandlerServesAModuleToEveryOrigin(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin") // as the pages have it
	Handler().ServeHTTP(w, httptest.NewRequest("GET", "/turnkey.js", nil))
	for name, want := range map[string]string{
		"Content-Type":                 "text/javascript; charset=utf-8",
		"Access-Control-Allow-Origin":  "*",
		"Cross-Origin-Resource-Policy": "cross-origin",
		"Cache-Control":                "no-cache",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if body := w.Body.String(); !strings.Contains(body, "export function join(") {
		t.Errorf("got %d bytes without join, want the module", len(body))
	}
}

func TestTypesAreServed(t *testing.T) {
	w := httptest.NewRecorder()
	Types().ServeHTTP(w, httptest.NewRequest("GET", "/turnkey.d.ts", nil))
	if got := w.Header().Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("got Content-Type %q, want text", got)
	}
	if body := w.Body.String(); !strings.Contains(body, "export function join(") {
		t.Errorf("got %d bytes without join, want the declarations", len(body))
	}
}

func script(t *testing.T) string {
	t.Helper()
	b, err := files.ReadFile("turnkey.js")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A page may import it as it stands.
func TestScriptHasNoDependencies(t *testing.T) {
	for line := range strings.Lines(script(t)) {
		if !strings.HasPrefix(line, "//") && (strings.HasPrefix(line, "import ") || strings.Contains(line, "import(")) {
			t.Errorf("got %q, want no import", line)
		}
	}
}
