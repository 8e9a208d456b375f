//go:build linux

package packaging

import (
	"crypto/tls"
	"crypto/x509"
	"debug/elf"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"turnkey/lab/netns"
)

const (
	address = "203.0.113.10"
	key     = "the-key-of-the-packaging-lab"
)

// newHost returns a host with one address and a way out.
func newHost(t *testing.T) *netns.Host {
	t.Helper()
	n := netns.New(t)
	h := n.Host("server")
	h.Join(n.Switch("lan"), "eth0", address+"/24")
	h.Route("default", "via", "203.0.113.1")
	return h
}

// awaitHealth returns when /healthz answers 200.
func awaitHealth(t *testing.T, i *image, c *container) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: i.host.Dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	limit, tick := time.After(10*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := client.Get("http://127.0.0.1:8080/healthz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-c.ended:
			t.Fatalf("the server ended with code %d", c.cmd.ProcessState.ExitCode())
		case <-limit:
			t.Fatal("the server does not become healthy")
		}
	}
}

// TestImage runs what the Dockerfile makes: with its own settings alone, and
// with those of compose.yaml.
func TestImage(t *testing.T) {
	h := newHost(t)
	i := newImage(t, h, nil)
	t.Run("files", func(t *testing.T) { checkFiles(t, i) })
	compose := []string{"TURNKEY_AUTH=key", "TURNKEY_API_KEY=" + key}
	for name, env := range map[string][]string{"docker run": nil, "compose": compose} {
		t.Run(name, func(t *testing.T) { checkContainer(t, i, env) })
	}
}

// checkFiles: a static binary, the roots and the state directory, and no more.
func checkFiles(t *testing.T, i *image) {
	var got []string
	err := filepath.WalkDir(i.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && (!d.IsDir() || d.Name() == "state") {
			got = append(got, strings.TrimPrefix(path, i.dir))
		}
		return err
	})
	if want := []string{roots, "/state", "/turnkey"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got the files %v (%v), want %v", got, err, want)
	}
	f, err := elf.Open(filepath.Join(i.dir, "turnkey"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	libraries, err := f.ImportedLibraries()
	if err != nil || len(libraries) > 0 || f.Section(".interp") != nil {
		t.Errorf("got a binary that needs %v (%v), want a static one", libraries, err)
	}
	if f.Section(".debug_info") != nil || f.Section(".symtab") != nil {
		t.Error("the binary has debug information, want it stripped")
	}
	if _, out := i.run(t, nil, "/turnkey", "version"); !strings.HasPrefix(out, "turnkey 1.2.3-lab ") {
		t.Errorf("got the version %q, want that of the build argument", out)
	}
}

func checkContainer(t *testing.T, i *image, env []string) {
	check, timeout := i.healthcheck(t)
	health := func(want int, says ...string) {
		t.Helper()
		start := time.Now()
		code, out := i.run(t, env, check...)
		took := time.Since(start)
		t.Logf("HEALTHCHECK took %s", took.Round(time.Millisecond))
		if code != want || took > timeout {
			t.Errorf("HEALTHCHECK: got %d after %s, want %d within %s\n%s", code, took, want, timeout, out)
		}
		for _, s := range says {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), s) {
				t.Errorf("HEALTHCHECK does not say %q:\n%s", s, out)
			}
		}
	}
	c := i.start(t, append(env, "TURNKEY_LOG_FORMAT=json")...)
	awaitHealth(t, i, c)
	checkProcess(t, i, c)
	health(0, "ok STUN on 127.0.0.1:3478", "ok STUN on 127.0.0.1:3479",
		"ok turn:"+address+":3478?transport=udp", "ok turn:"+address+":3478?transport=tcp")
	checkEndLines(t, c)

	i.host.NFT("table inet broken { chain in { type filter hook input priority 0; udp dport 3479 drop; }; }")
	health(1, "FAILED STUN on 127.0.0.1:3479", "open UDP port 3479")
	i.host.NFT("flush ruleset")
	i.host.NFT("table inet broken { chain in { type filter hook input priority 0; meta l4proto udp drop; tcp dport 3478 drop; }; }")
	health(1, "FAILED STUN on 127.0.0.1:3478", "FAILED turn:"+address+":3478?transport=udp", "FAILED turn:"+address+":3478?transport=tcp")
	i.host.NFT("flush ruleset")
	health(0)

	if code := c.stop(t, i); code != 0 {
		t.Errorf("after SIGTERM: got exit code %d, want 0", code)
	}
	health(1, "FAILED http://127.0.0.1:8080")
}

// TestImageServesHTTPSOnPort443, on the host's network and as its own user,
// which the kernel lets no other program without a capability do.
func TestImageServesHTTPSOnPort443(t *testing.T) {
	i := newImage(t, newHost(t), nil)
	pair := httptest.NewTLSServer(nil)
	defer pair.Close()
	key, err := x509.MarshalPKCS8PrivateKey(pair.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate().Raw}, "key.pem": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(i.dir, name), pem.EncodeToMemory(&block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := i.start(t, "TURNKEY_TLS_CERT=/cert.pem", "TURNKEY_TLS_KEY=/key.pem")
	awaitHealth(t, i, c)
	client := http.Client{Transport: &http.Transport{DialContext: i.host.Dial, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 5 * time.Second}
	resp, err := client.Get("https://127.0.0.1/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Errorf("got %s, want 200", resp.Status)
	}
	checkProcess(t, i, c)
}

// checkProcess: the user of the image, one capability, a secret that only it can read.
func checkProcess(t *testing.T, i *image, c *container) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	user := fmt.Sprintf("%[1]d\t%[1]d\t%[1]d\t%[1]d", i.uid)
	for _, want := range []string{"Uid:\t" + user, "Groups:\t \n", "CapPrm:\t0000000000000400", "CapEff:\t0000000000000400", "CapAmb:\t0000000000000000"} {
		if !strings.Contains(string(status), "\n"+want) {
			t.Errorf("the process has no %q:\n%s", want, status)
		}
	}
	info, err := os.Stat(filepath.Join(i.dir, "state", "secret"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret in /state: got %v, %v, want mode 0600", info, err)
	}
}

// checkEndLines compares the lines about relays that ended with the table in
// docs/operations.md.
func checkEndLines(t *testing.T, c *container) {
	doc := read(t, "docs/operations.md")
	for _, line := range c.log.Await(t, "session ended", 4, 10*time.Second) {
		for name := range line {
			if !strings.Contains(doc, "\n| `"+name+"` |") {
				t.Errorf("docs/operations.md has no row for %q of the line %v", name, line)
			}
		}
	}
}

// TestForeignVolume: a state directory of another user ends the start with a
// reason, and an empty setting does without.
func TestForeignVolume(t *testing.T) {
	i := newImage(t, newHost(t), nil)
	if err := os.Chown(filepath.Join(i.dir, "state"), 0, 0); err != nil {
		t.Fatal(err)
	}
	code, out := i.run(t, nil, "/turnkey", "serve")
	if code != 1 || !strings.Contains(out, "TURNKEY_STATE_DIR") || !strings.Contains(out, "permission denied") {
		t.Errorf("got %d and %q, want 1, the setting and the reason", code, out)
	}
	c := i.start(t, "TURNKEY_STATE_DIR=")
	awaitHealth(t, i, c)
	if code := c.stop(t, i); code != 0 {
		t.Errorf("after SIGTERM: got exit code %d, want 0", code)
	}
}
