package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"turnkey/configs"
	"turnkey/web"
)

func TestServerTestsItself(t *testing.T) {
	s := newSecured(t)
	s.serve(t)
	var got struct {
		Status string
		Checks map[string]web.Check
	}
	until(t, "self test", func() bool {
		status, body := s.ask(t, "GET", "/readyz", "")
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || got.Status != "ok" {
			t.Fatalf("got %d %s, %v, want ok", status, body, err)
		}
		return got.Checks["relay"].State == web.CheckOK
	})
	for _, name := range []string{"sockets", "serving", "certificate"} {
		if got.Checks[name].State != web.CheckOK {
			t.Errorf("%s: got %+v, want ok", name, got.Checks[name])
		}
	}
	if log := s.stderr.String(); !strings.Contains(log, `msg="self test: ok"`) || !strings.Contains(log, "label="+testLabel) {
		t.Errorf("got a log without the self test:\n%s", log)
	}
}

// Behind a NAT that sends nothing back the test proves nothing; where the
// address is of this machine, it does.
func TestSelfTestWithoutAWayBack(t *testing.T) {
	s := newPlain(t)
	s.environ["TURNKEY_PUBLIC_IP"] = "192.0.2.1" // nobody's
	s.serve(t)
	until(t, "self test", func() bool { return strings.Contains(s.stderr.String(), "self test: untested") })
	if status := s.status(t, "GET", "/readyz", ""); status != 200 {
		t.Errorf("got %d, want 200", status)
	}
}

// A server whose relays are all in use is busy, not broken.
func TestSelfTestOfAFullServer(t *testing.T) {
	s := newPlain(t)
	s.environ["TURNKEY_MAX_ALLOCATIONS"] = "1"
	cfg, err := configs.Load(s.environ)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	username, password := s.credential(t)
	if _, err := s.relay(t, username, password); err != nil {
		t.Fatal(err)
	}
	if srv.testSelf(t.Context()) {
		t.Error("got a test that was made, want another soon")
	}
	if got := srv.tested.get(); got.State != web.CheckUntested || !strings.Contains(got.Detail, "in use") {
		t.Errorf("got %+v, want it untested", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = srv.stop(ctx)
}

func TestSelfTestIsJudged(t *testing.T) {
	at := netip.MustParseAddr("192.0.2.1")
	for _, tt := range []struct {
		name                 string
		onInterface, arrived bool
		err                  error
		state, says          string
	}{
		{"arrived", true, true, nil, web.CheckOK, "firewall in front"},
		{"hairpin", false, true, nil, web.CheckOK, "firewall in front"},
		{"no hairpin", false, false, nil, web.CheckUntested, "turnkey check"},
		{"blocked", true, false, nil, web.CheckFailed, "TURNKEY_RELAY_PORTS"},
		{"no relay", true, false, errors.New("the server answers error 508"), web.CheckFailed, "508"},
	} {
		if got := loopCheck(at, tt.onInterface, tt.arrived, tt.err); got.State != tt.state || !strings.Contains(got.Detail, tt.says) {
			t.Errorf("%s: got %+v, want %s and %q", tt.name, got, tt.state, tt.says)
		}
	}
}

func TestSelfTestIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var failing atomic.Bool
		var n atomic.Int32
		moved, ended := make(chan struct{}, 1), make(chan struct{})
		go func() {
			defer close(ended)
			every(ctx, moved, func(context.Context) bool { n.Add(1); return !failing.Load() })
		}()
		want := func(what string, tests int32) {
			t.Helper()
			synctest.Wait()
			if got := n.Load(); got != tests {
				t.Errorf("%s: got %d tests, want %d", what, got, tests)
			}
		}
		want("at once", 1)
		time.Sleep(testEvery - time.Second)
		want("before 12 h", 1)
		failing.Store(true)
		time.Sleep(time.Second)
		want("after 12 h", 2)
		time.Sleep(3 * testAgain)
		want("while it fails", 5)
		failing.Store(false)
		time.Sleep(testAgain)
		want("mended", 6)
		moved <- struct{}{}
		want("the address has changed", 7)
		cancel()
		<-ended
	})
}

func TestTheWorseOfTwoSelfTestsIsTold(t *testing.T) {
	ok, failed, untested := web.Check{State: web.CheckOK, Detail: "v4." + unseen}, web.Check{State: web.CheckFailed, Detail: "closed"}, web.Check{State: web.CheckUntested, Detail: "who knows"}
	for _, tt := range []struct {
		a, b, want web.Check
	}{
		{ok, failed, failed}, {failed, ok, failed}, {ok, untested, untested}, {untested, failed, failed},
		{ok, web.Check{State: web.CheckOK, Detail: "v6." + unseen}, web.Check{State: web.CheckOK, Detail: "v4. v6." + unseen}},
	} {
		if got := worse(tt.a, tt.b); got != tt.want {
			t.Errorf("%+v and %+v: got %+v, want %+v", tt.a, tt.b, got, tt.want)
		}
	}
}
