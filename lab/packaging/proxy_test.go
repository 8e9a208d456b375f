//go:build linux

package packaging

import (
	"encoding/pem"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBehindReverseProxy checks the server through a proxy that ends TLS, set
// up as docs/operations.md says; the image trusts the proxy's certificate by
// its roots and by nothing else.
func TestBehindReverseProxy(t *testing.T) {
	h := newHost(t)
	var l net.Listener
	err := h.Do(func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:0"); return err })
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "127.0.0.1:8080"})
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true},
	})
	_ = proxy.Listener.Close()
	proxy.Listener = l
	proxy.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	proxy.StartTLS()
	t.Cleanup(proxy.Close)

	i := newImage(t, h, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw}))
	keyed := []string{"TURNKEY_API_KEY=" + key}
	c := i.start(t, append(keyed, "TURNKEY_AUTH=key", "TURNKEY_HTTP=127.0.0.1:8080", "TURNKEY_TRUSTED_PROXIES=127.0.0.1,::1")...)
	awaitHealth(t, i, c)
	for _, step := range []struct {
		name string
		env  []string
		code int
		says string
	}{
		{"with the key", keyed, 0, "ok turn:" + address + ":3478?transport=udp"},
		{"with a wrong key", []string{"TURNKEY_API_KEY=" + key + "x"}, 1, "the bearer is not right"},
	} {
		if code, out := i.run(t, step.env, "/turnkey", "check", "-quick", proxy.URL); code != step.code || !strings.Contains(strings.Join(strings.Fields(out), " "), step.says) {
			t.Errorf("check through the proxy %s: got %d, want %d and %q:\n%s", step.name, code, step.code, step.says, out)
		}
	}
	if err := os.Remove(filepath.Join(i.dir, roots)); err != nil {
		t.Fatal(err)
	}
	if code, out := i.run(t, keyed, "/turnkey", "check", "-quick", proxy.URL); code != 1 || !strings.Contains(out, "certificate") {
		t.Errorf("check without roots: got %d, want 1 and the certificate as the reason:\n%s", code, out)
	}
}
