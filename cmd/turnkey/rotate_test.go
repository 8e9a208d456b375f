package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/turn/v4"
)

// plain is a server without a certificate, with an API key.
func newPlain(t *testing.T) *secured {
	s := newSecured(t)
	for _, name := range []string{"TURNKEY_HTTPS", "TURNKEY_TLS_CERT", "TURNKEY_TLS_KEY"} {
		delete(s.environ, name)
	}
	s.environ["TURNKEY_API_KEY"] = operatorKey
	return s
}

const operatorKey = "0123456789abcdef"

// until waits for what the server does on its own.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 15*time.Second {
			t.Fatalf("no %s after 15 s", what)
		}
	}
}

// credential asks /v1/ice for one.
func (s *secured) credential(t *testing.T) (username, password string) {
	t.Helper()
	res, err := http.Get("http://" + s.web + "/v1/ice?label=alice")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var ice struct {
		ICEServers []struct{ Username, Credential string }
	}
	if err := json.NewDecoder(res.Body).Decode(&ice); err != nil || len(ice.ICEServers) != 2 {
		t.Fatalf("got %v, %v, want ICE servers", ice, err)
	}
	return ice.ICEServers[1].Username, ice.ICEServers[1].Credential
}

// relayed is a client with an allocation that lasts until the test ends.
type relayed struct {
	*turn.Client
	relay net.PacketConn
}

func (s *secured) relay(t *testing.T, username, password string) (*relayed, error) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c, err := turn.NewClient(&turn.ClientConfig{TURNServerAddr: s.turn, Conn: conn, Username: username, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	relay, err := c.Allocate()
	if err == nil {
		t.Cleanup(func() { relay.Close() })
	}
	return &relayed{c, relay}, err
}

// permit makes an authenticated request of the allocation.
func (r *relayed) permit(addr string) error {
	return r.CreatePermission(&net.UDPAddr{IP: net.ParseIP(addr), Port: 9})
}

// hangup sends this process SIGHUP, which must not end it even where nobody
// else listens yet.
func hangup(t *testing.T) {
	t.Helper()
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(c) })
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(syscall.SIGHUP)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSecretIsRotatedWithoutEndingACall(t *testing.T) {
	const first, second = "north-north-north-north", "south-south-south-south"
	s := newPlain(t)
	file := filepath.Join(t.TempDir(), "secret")
	rewrite := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(first + "\n")
	s.environ["TURNKEY_SECRET_FILE"] = file
	s.serve(t)
	told := func(what string) func() bool {
		before := strings.Count(s.stderr.String(), what)
		return func() bool { return strings.Count(s.stderr.String(), what) > before }
	}

	oldName, oldPassword := s.credential(t)
	call, err := s.relay(t, oldName, oldPassword)
	if err != nil {
		t.Fatal(err)
	}
	changed := told("it is in force")
	rewrite(second + "," + first)
	hangup(t)
	until(t, "rotation", changed)
	if err := call.permit("8.8.4.4"); err != nil {
		t.Errorf("with both: the running call got %v", err)
	}
	newName, newPassword := s.credential(t)
	if newPassword == oldPassword && newName == oldName {
		t.Errorf("got the same credential %s, want one of the new secret", newName)
	}
	for _, c := range [][2]string{{newName, newPassword}, {oldName, oldPassword}} {
		if _, err := s.relay(t, c[0], c[1]); err != nil {
			t.Errorf("with both: a new call got %v", err)
		}
	}

	changed = told("it is in force") // this time by looking
	rewrite(second)
	until(t, "second rotation", changed)
	if _, err := s.relay(t, oldName, oldPassword); err == nil {
		t.Error("without the old one: got a relay for its credential, want none")
	}
	if _, err := s.relay(t, newName, newPassword); err != nil {
		t.Errorf("without the old one: a call with the new one got %v", err)
	}

	for _, bad := range []string{"short", ""} {
		failed := told("TURNKEY_SECRET_FILE")
		rewrite(bad)
		hangup(t)
		until(t, "complaint", failed)
		if _, err := s.relay(t, newName, newPassword); err != nil {
			t.Errorf("file %q: got %v, want the secret of before in force", bad, err)
		}
	}
	if log := s.stderr.String(); strings.Contains(log, second) || strings.Contains(log, first) || !strings.Contains(log, "level=ERROR") {
		t.Errorf("got a log with a secret, or without an error:\n%s", log)
	}
}

func TestAPIKeyIsRotated(t *testing.T) {
	s := newPlain(t)
	file := filepath.Join(t.TempDir(), "key")
	delete(s.environ, "TURNKEY_API_KEY")
	s.environ["TURNKEY_API_KEY_FILE"] = file
	const another = "fedcba9876543210"
	if err := os.WriteFile(file, []byte(operatorKey), 0o600); err != nil {
		t.Fatal(err)
	}
	s.serve(t)
	if got := s.status(t, "GET", "/v1/sessions", operatorKey); got != 200 {
		t.Errorf("got %d, want 200", got)
	}
	if err := os.WriteFile(file, []byte(another), 0o600); err != nil {
		t.Fatal(err)
	}
	hangup(t)
	until(t, "new key", func() bool { return s.status(t, "GET", "/v1/sessions", another) == 200 })
	if got := s.status(t, "GET", "/v1/sessions", operatorKey); got != 401 {
		t.Errorf("with the old key: got %d, want 401", got)
	}
}
