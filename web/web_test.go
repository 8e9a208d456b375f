package web

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
)

// answer is what came back; body is decoded when it was JSON.
type answer struct {
	*httptest.ResponseRecorder
	body map[string]any
	err  map[string]any // body.error
}

func do(t *testing.T, h http.Handler, r *http.Request) answer {
	t.Helper()
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(a, r)
	if strings.HasPrefix(a.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(a.Body.Bytes(), &a.body); err != nil {
			t.Fatalf("%s %s: %v in %q", r.Method, r.URL, err, a.Body)
		}
		a.err, _ = a.body["error"].(map[string]any)
	}
	return a
}

// wantError checks status and code, and that a person can act on it.
func (a answer) wantError(t *testing.T, status int, code string) {
	t.Helper()
	if a.Code != status || a.err["code"] != code {
		t.Errorf("got %d %v, want %d %q", a.Code, a.body, status, code)
	}
	for _, field := range []string{"message", "hint"} {
		if text, _ := a.err[field].(string); text == "" {
			t.Errorf("%d %s: no %s", status, code, field)
		}
	}
	if got := a.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("%d %s: Cache-Control: got %q, want no-store", status, code, got)
	}
}

func to(method, path string, headers ...string) *http.Request {
	r := request(loop, self, headers...)
	n := httptest.NewRequest(method, path, nil)
	n.RemoteAddr, n.Host, n.Header = r.RemoteAddr, r.Host, r.Header
	return n
}

func TestErrorsOfTheMuxAreJSON(t *testing.T) {
	h := New(Config{})
	for _, path := range []string{"/v1/", "/v1/nope", "/nope", "/static/style.css", "/docs/../nope", "/docs/nope"} {
		do(t, h, to("GET", path)).wantError(t, 404, "not_found")
	}
	for path, allow := range map[string]string{"/v1/ice": "GET, HEAD, OPTIONS", "/v1/token": "POST", "/": "GET, HEAD"} {
		got := do(t, h, to("DELETE", path))
		got.wantError(t, 405, "method_not_allowed")
		if got := got.Header().Get("Allow"); got != allow {
			t.Errorf("%s: Allow: got %q, want %q", path, got, allow)
		}
	}
}

func TestPanicIsAnswered(t *testing.T) {
	var log strings.Builder
	h := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Routes: map[string]http.Handler{
		"GET /v1/early": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("early") }),
		"GET /v1/late": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("half"))
			panic("late")
		}),
		"GET /v1/abort": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
	}})
	do(t, h, to("GET", "/v1/early")).wantError(t, 500, "internal")
	if !strings.Contains(log.String(), "early") || !strings.Contains(log.String(), "web_test.go") {
		t.Errorf("log: got %q, want the panic and its place", log.String())
	}
	for _, path := range []string{"/v1/late", "/v1/abort"} {
		func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler {
					t.Errorf("%s: got panic %v, want the connection to be broken", path, p)
				}
			}()
			do(t, h, to("GET", path))
		}()
	}
}

func TestRoutesKeepTheirConnection(t *testing.T) {
	s := httptest.NewServer(New(Config{Routes: map[string]http.Handler{
		"GET /v1/ws": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Errorf("hijack: %v", err)
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken"))
			_ = c.Close()
		}),
	}}))
	defer s.Close()
	resp, err := s.Client().Get(s.URL + "/v1/ws")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ContentLength != 5 {
		t.Errorf("got %d bytes, want the 5 written on the connection itself", resp.ContentLength)
	}
}

func TestHealth(t *testing.T) {
	ready := false
	h := New(Config{Ready: func() bool { return ready }})
	do(t, h, to("GET", "/healthz")).wantError(t, 503, "starting")
	ready = true
	if got := do(t, h, to("GET", "/healthz")); got.Code != 200 {
		t.Errorf("ready: got %d, want 200", got.Code)
	}
}

func TestSecurityHeadersAreEverywhere(t *testing.T) {
	h := New(Config{})
	want := map[string]string{
		"Content-Security-Policy": "frame-ancestors 'none'", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
	}
	for _, path := range []string{"/", "/style.css", "/landing.js", "/v1/ice", "/healthz", "/nope"} {
		got := do(t, h, to("GET", path)).Header()
		for name, part := range want {
			if !strings.Contains(got.Get(name), part) {
				t.Errorf("%s: %s: got %q, want %q in it", path, name, got.Get(name), part)
			}
		}
		if csp := got.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || strings.Contains(csp, "http") {
			t.Errorf("%s: policy %q allows more than what is served here", path, csp)
		}
	}
}

func TestPagesOverTLSAreIsolated(t *testing.T) {
	h := New(Config{})
	for scheme, want := range map[string]string{"http": "", "https": "same-origin"} {
		r := to("GET", "/")
		r.Header.Set("X-Forwarded-Proto", scheme)
		if got := do(t, h, r).Header().Get("Cross-Origin-Opener-Policy"); got != want {
			t.Errorf("%s: got Cross-Origin-Opener-Policy %q, want %q", scheme, got, want)
		}
	}
}

func TestLandingPage(t *testing.T) {
	h := New(Config{Status: func() Status {
		return Status{Version: "1.2.3", Host: "turn.example", Public: "203.0.113.7", PublicFrom: "by <STUN>", Auth: ModeOpen, Calls: 100,
			Listen: []Socket{{"udp", netip.MustParseAddrPort("203.0.113.7:3478"), "STUN"}, {"udp", netip.MustParseAddrPort("10.1.2.3:3478"), "STUN"}},
			Open:   []Port{{"udp", "49160-49359", "relays"}}, Off: []Off{{"TLS", "TURNKEY_TLS_CERT"}}}
	}, Docs: fstest.MapFS{"errors.md": {Data: []byte("# All errors\n")}}})
	page := do(t, h, to("GET", "/"))
	for _, want := range []string{"1.2.3", "turn.example", "203.0.113.7:3478/udp", "10.1.2.3:3478/udp", "by &lt;STUN&gt;", "about 100 calls",
		"49160-49359/udp", "TURNKEY_AUTH=open", "TURNKEY_TLS_CERT", `href="/docs/errors">All errors`} {
		if !strings.Contains(page.Body.String(), want) {
			t.Errorf("page lacks %q", want)
		}
	}
	for _, r := range []*http.Request{request(remote, "turn.example"), request(loop, "evil.example")} {
		r.URL.Path = "/"
		if page := do(t, h, r); strings.Contains(page.Body.String(), "10.1.2.3") || !strings.Contains(page.Body.String(), "203.0.113.7:3478") {
			t.Errorf("from %s at %s: got the private address, or not the public one", r.RemoteAddr, r.Host)
		}
	}
}

func TestStaticFilesAreRevalidated(t *testing.T) {
	h := New(Config{})
	first := do(t, h, to("GET", "/style.css"))
	if got := first.Header().Get("Content-Type"); first.Code != 200 || !strings.HasPrefix(got, "text/css") {
		t.Fatalf("got %d %q, want a style sheet", first.Code, got)
	}
	again := do(t, h, to("GET", "/style.css", "If-None-Match: "+first.Header().Get("ETag")))
	if again.Code != 304 || again.Body.Len() != 0 {
		t.Errorf("again: got %d with %d bytes, want 304 with none", again.Code, again.Body.Len())
	}
}

func TestDocs(t *testing.T) {
	h := New(Config{Docs: fstest.MapFS{
		"a.md": {Data: []byte("# Title `of` it\n\n[b](b.md) <script>alert(1)</script> [x](javascript:alert(1))\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n")},
		"b.md": {Data: []byte("no heading")}, "secret.txt": {Data: []byte("x")},
	}})
	for _, path := range []string{"/docs/a", "/docs/a.md"} {
		page := do(t, h, to("GET", path)).Body.String()
		for _, want := range []string{"<title>Title of it - turnkey</title>", `href="b.md"`, `<td align="right">2</td>`, `href="/docs/b"`} {
			if !strings.Contains(page, want) {
				t.Errorf("%s lacks %q", path, want)
			}
		}
		for _, bad := range []string{"<script>", "javascript:", "style="} {
			if strings.Contains(page, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
	}
	if got := do(t, h, to("GET", "/docs/")); got.Code != 303 || got.Header().Get("Location") != "/#docs" {
		t.Errorf("/docs/: got %d to %q, want the list on the landing page", got.Code, got.Header().Get("Location"))
	}
	do(t, h, to("GET", "/docs/secret.txt")).wantError(t, 404, "not_found")
}
