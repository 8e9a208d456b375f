package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var testSecret = []byte("0123456789abcdef")

// logged is a log that may be read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// backed is a hook that calls a backend on loopback.
func backed(t *testing.T, backend http.HandlerFunc) (*Hook, *logged) {
	t.Helper()
	s := httptest.NewServer(backend)
	log := new(logged)
	h := New(Config{URL: s.URL + "/hook?x=1", Secret: testSecret, Log: slog.New(slog.NewTextHandler(log, nil))})
	h.pauses = []time.Duration{time.Millisecond, time.Millisecond}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		h.Close(ctx)
		s.CloseClientConnections()
		s.Close()
	})
	return h, log
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// check verifies the signature as a backend would, by its own means.
func check(t *testing.T, r *http.Request) Event {
	body, err := io.ReadAll(r.Body)
	at, bad := strconv.ParseInt(r.Header.Get("X-Turnkey-Timestamp"), 10, 64)
	mac := hmac.New(sha256.New, testSecret)
	fmt.Fprintf(mac, "%d.%s", at, body)
	if got, want := r.Header.Get("X-Turnkey-Signature"), "sha256="+hex.EncodeToString(mac.Sum(nil)); err != nil || bad != nil || got != want {
		t.Errorf("signature %q, want %q (%v, %v)", got, want, err, bad)
	}
	if age := time.Since(time.Unix(at, 0)); age < 0 || age > 10*time.Second {
		t.Errorf("timestamp %d is %v old", at, age)
	}
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		t.Errorf("%s: %v", body, err)
	}
	return e
}

func TestAJoinIsAskedAboutAndSigned(t *testing.T) {
	want := Event{Event: "join", Room: "r", Peer: "p_a", Name: "Anna", Meta: json.RawMessage(`{"a":1}`), Subject: "anna", Address: "192.0.2.1"}
	h, _ := backed(t, func(w http.ResponseWriter, r *http.Request) {
		got := check(t, r)
		if a, b := fmt.Sprint(got), fmt.Sprint(want); a != b {
			t.Errorf("got %s, want %s", a, b)
		}
		if r.Method != "POST" || r.URL.Path != "/hook" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s %s of type %s", r.Method, r.URL, r.Header.Get("Content-Type"))
		}
		_, _ = io.WriteString(w, `{"allow":true,"more":[1]}`)
	})
	asked := want
	asked.Event = ""
	if allow, reason, err := h.Ask(t.Context(), asked); !allow || reason != "" || err != nil {
		t.Errorf("got %v %q %v, want it allowed", allow, reason, err)
	}
}

func TestAnswers(t *testing.T) {
	var hit atomic.Bool
	for _, tt := range []struct {
		name    string
		backend http.HandlerFunc
		allow   bool
		reason  string
		fails   string // in the error, "" = none
	}{
		{"allow", answer(201, `{"allow":true}`), true, "", ""},
		{"deny", answer(200, `{"allow":false}`), false, "", ""},
		{"deny with a reason", answer(200, `{"allow":false,"reason":"not paid"}`), false, "not paid", ""},
		{"a long reason", answer(200, `{"allow":false,"reason":"`+strings.Repeat("ä", 500)+`"}`), false, strings.Repeat("ä", 100), ""},
		{"500", answer(500, `{"allow":true}`), false, "", "500"},
		{"403", answer(403, `{"allow":true}`), false, "", "403"},
		{"garbage", answer(200, `<html>`), false, "", "not {"},
		{"nothing", answer(204, ``), false, "", "not {"},
		{"no word", answer(200, `{"ok":true}`), false, "", "not {"},
		{"a string", answer(200, `{"allow":"true"}`), false, "", "not {"},
		{"too much", answer(200, `{"allow":true}`+strings.Repeat(" ", maxAnswer)), false, "", "more than"},
		{"large headers", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			answer(200, `{"allow":true}`)(w, r)
		}, false, "", "header"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/other" {
				hit.Store(true)
				answer(200, `{"allow":true}`)(w, r)
				return
			}
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}, false, "", "307"},
		{"cut", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, false, "", "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, log := backed(t, tt.backend)
			allow, reason, err := h.Ask(t.Context(), Event{Room: "r", Peer: "p"})
			if allow != tt.allow || reason != tt.reason || (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("got %v %q %v, want %v %q and an error about %q", allow, reason, err, tt.allow, tt.reason, tt.fails)
			}
			if line := log.String(); (err != nil) != strings.Contains(line, "level=ERROR") || err != nil && !strings.Contains(line, "TURNKEY_WEBHOOK_URL") {
				t.Errorf("logged %q after %v", line, err)
			}
		})
	}
	if hit.Load() {
		t.Error("the redirect was followed")
	}
}

func TestASlowBackendIsGivenUp(t *testing.T) {
	h, _ := backed(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	start := time.Now()
	var wg sync.WaitGroup
	for range 2 * maxAsking { // half of them wait for a turn
		wg.Go(func() {
			if allow, _, err := h.Ask(context.Background(), Event{}); allow || err == nil {
				t.Errorf("got %v, %v", allow, err)
			}
		})
	}
	wg.Wait()
	if d := time.Since(start); d < callTimeout || d > callTimeout+5*time.Second {
		t.Errorf("gave up after %v, want %v", d, callTimeout)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	start = time.Now()
	if _, _, err := h.Ask(ctx, Event{}); err == nil || time.Since(start) > callTimeout {
		t.Errorf("when nobody wants to know any more: got %v after %v", err, time.Since(start))
	}
}

func TestHTTPSIsVerified(t *testing.T) {
	s := httptest.NewTLSServer(answer(200, `{"allow":true}`))
	defer s.Close()
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	ask := func(roots *x509.CertPool) error {
		h := New(Config{URL: s.URL, Secret: testSecret, Roots: roots})
		defer h.Close(t.Context())
		_, _, err := h.Ask(t.Context(), Event{})
		return err
	}
	if err := ask(nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: got %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	if err := ask(roots); err != nil {
		t.Errorf("a known certificate: got %v", err)
	}
}

func TestNoProxyIsUsed(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	h, _ := backed(t, answer(200, `{"allow":true}`))
	if h.client.Transport.(*http.Transport).Proxy != nil {
		t.Error("the environment names a proxy, and it is asked")
	}
}

func TestLeavesAreToldAgainUntilTheyAreTaken(t *testing.T) {
	var calls atomic.Int32
	got := make(chan Event, 8)
	h, log := backed(t, func(w http.ResponseWriter, r *http.Request) {
		e := check(t, r)
		if calls.Add(1) < 3 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		got <- e
	})
	h.Tell(Event{Room: "r", Peer: "p", Reason: "bye"})
	var e Event
	select {
	case e = <-got:
	case <-time.After(10 * time.Second):
	}
	if e.Event != "leave" || e.Room != "r" || e.Peer != "p" || e.Reason != "bye" || calls.Load() != 3 {
		t.Errorf("got %+v after %d calls", e, calls.Load())
	}
	if log.String() != "" {
		t.Errorf("logged %q", log)
	}
}

func TestWhatCannotBeToldIsCounted(t *testing.T) {
	var calls atomic.Int32
	h, log := backed(t, func(w http.ResponseWriter, _ *http.Request) { calls.Add(1); w.WriteHeader(500) })
	h.Tell(Event{Peer: "p"})
	h.Close(t.Context())
	if h.dropped.Load() != 1 || calls.Load() != 3 || !strings.Contains(log.String(), "dropped=1") {
		t.Errorf("got %d dropped after %d calls, logged %q", h.dropped.Load(), calls.Load(), log)
	}
	h.Tell(Event{Peer: "late"}) // must not panic
	if h.dropped.Load() != 2 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("got %d dropped, logged %q", h.dropped.Load(), log)
	}
}

func TestTellingNeverWaits(t *testing.T) {
	h, _ := backed(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	start := time.Now()
	for range 2 * queueLen {
		h.Tell(Event{Peer: "p"})
	}
	if d := time.Since(start); d > callTimeout {
		t.Errorf("took %v", d)
	}
	if n := h.dropped.Load(); n < queueLen-tellers || n > queueLen {
		t.Errorf("dropped %d of %d, with room for %d", n, 2*queueLen, queueLen)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	h.Close(ctx)
	if d := time.Since(start); d > 2*callTimeout {
		t.Errorf("closing took until %v", d)
	}
	if n := h.dropped.Load(); n != 2*queueLen {
		t.Errorf("dropped %d in the end, want all %d", n, 2*queueLen)
	}
}
