package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"turnkey/configs"
	"turnkey/web"
)

// ask makes a request with a key, if it is not empty, and returns the answer.
func (s *secured) ask(t *testing.T, method, path, key string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.web+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func (s *secured) status(t *testing.T, method, path, key string) int {
	t.Helper()
	status, _ := s.ask(t, method, path, key)
	return status
}

// live are the sessions that the server lists, without those of its self test.
func (s *secured) live(t *testing.T) (list []web.Relay) {
	t.Helper()
	status, body := s.ask(t, "GET", "/v1/sessions", operatorKey)
	var got struct{ Sessions []web.Relay }
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("got %d %s, %v, want sessions", status, body, err)
	}
	for _, v := range got.Sessions {
		if v.User != testLabel {
			list = append(list, v)
		}
	}
	return list
}

func TestOperatorSeesAndEndsSessions(t *testing.T) {
	s := newPlain(t)
	s.environ["TURNKEY_USERS"] = "meter:static-password"
	s.environ["TURNKEY_ALLOW_PEERS"] = "127.0.0.1"
	s.serve(t)
	username, password := s.credential(t)
	alice, err := s.relay(t, username, password)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.relay(t, "meter", "static-password"); err != nil {
		t.Fatalf("static user: %v", err)
	}
	if _, err := s.relay(t, "meter", "another-password"); err == nil {
		t.Error("static user with a wrong password: got a relay, want none")
	}
	peer, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err := alice.relay.WriteTo([]byte("hello"), peer.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	_ = peer.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, _, err := peer.ReadFrom(b); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("got %q, %v through the relay", b[:n], err)
	}

	list := s.live(t)
	if len(list) != 2 || list[0].User != "alice" || list[1].User != "meter" {
		t.Fatalf("got %+v, want alice and meter", list)
	}
	got := list[0]
	if got.ID == 0 || got.Relay.String() != alice.relay.LocalAddr().String() || got.Transport != "udp" || got.BytesOut != 5 || got.PacketsOut != 1 ||
		len(got.Peers) != 1 || got.Peers[0] != netip.MustParseAddr("127.0.0.1") || got.Client.Addr() != got.Peers[0] || got.Age < 0 || got.Age > 60 {
		t.Errorf("got %+v, want what was relayed", got)
	}
	id := "/v1/sessions/" + strconv.FormatUint(got.ID, 10)
	if status := s.status(t, "DELETE", id, operatorKey); status != http.StatusNoContent {
		t.Errorf("end alice: got %d, want 204", status)
	}
	until(t, "end of alice", func() bool { return len(s.live(t)) == 1 })
	if status := s.status(t, "DELETE", id, operatorKey); status != http.StatusNotFound {
		t.Errorf("end alice again: got %d, want 404", status)
	}
	if status, body := s.ask(t, "DELETE", "/v1/sessions?user=meter", operatorKey); status != 200 || strings.TrimSpace(body) != `{"ended":1}` {
		t.Errorf("end meter: got %d %s, want 1", status, body)
	}
	until(t, "end of meter", func() bool { return len(s.live(t)) == 0 })
	if !strings.Contains(s.stderr.String(), "reason=kicked") {
		t.Error("got no line with reason=kicked")
	}

	status, text := s.ask(t, "GET", "/metrics", "")
	for _, want := range []string{
		`(?m)^turnkey_sessions_ended_total\{reason="kicked"\} 2$`, `(?m)^turnkey_sessions_started_total [3-9]$`,
		`(?m)^turnkey_relayed_bytes_total\{direction="to_peers"\} 5$`, `(?m)^turnkey_requests_refused_total\{code="401"\} [1-9]`,
		`(?m)^turnkey_relay_ports 30$`, `(?m)^turnkey_relay_ports_free\{family="ipv4"\} \d+$`, `(?m)^turnkey_build_info\{.*version="`,
		`(?m)^turnkey_check_state\{check="relay",state="ok"\} 1$`, `(?m)^go_goroutines `, `(?m)^process_open_fds `,
		`(?m)^turnkey_listener_receive_drops_total 0$`,
	} {
		if status != 200 || !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("got %d without a line like %s", status, want)
		}
	}
	for _, label := range []string{"alice", "meter", username} {
		if strings.Contains(text, label) {
			t.Errorf("got metrics that name the user %q", label)
		}
	}
}

func TestCertificateIsChecked(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]string{time.Hour: web.CheckOK, -time.Second: web.CheckFailed} {
		if got := certificate(now.Add(left), now); got.State != want {
			t.Errorf("%v left: got %+v, want %s", left, got, want)
		}
	}
}

func TestDrainingIsNotReady(t *testing.T) {
	s := &server{sockets: &sockets{}}
	if got := s.health(); !got.Failed() || got.Checks["serving"].State != web.CheckFailed {
		t.Errorf("got %+v, want it not ready", got)
	}
	s.ready.Store(true)
	if got := s.health(); got.Failed() {
		t.Errorf("got %+v, want it ready", got)
	}
}

// While it drains, the server tells so, and sends new clients elsewhere.
func TestDrainIsSeen(t *testing.T) {
	s := newPlain(t)
	s.environ["TURNKEY_DRAIN_TIMEOUT"] = "1h"
	s.environ["TURNKEY_ALTERNATE"] = "192.0.2.1:3478"
	cfg, err := configs.Load(s.environ)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := start(cfg, slog.New(slog.NewTextHandler(&s.stderr, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.run(ctx) }()
	username, password := s.credential(t)
	call, err := s.relay(t, username, password)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	until(t, "end of readiness", func() bool { return s.status(t, "GET", "/readyz", "") == 503 })
	if status := s.status(t, "GET", "/healthz", ""); status != 503 {
		t.Errorf("healthz: got %d, want 503", status)
	}
	until(t, "another server", func() bool {
		_, err := s.relay(t, username, password)
		return err != nil && strings.Contains(err.Error(), "300")
	})
	if err := call.permit("8.8.4.4"); err != nil {
		t.Errorf("running call: got %v, want it served", err)
	}
	if status, body := s.ask(t, "DELETE", "/v1/sessions?user=alice", operatorKey); status != 200 {
		t.Errorf("end the last call: got %d %s", status, body)
	}
	if err := <-ended; err != nil {
		t.Errorf("got %v, want a clean end", err)
	}
}
