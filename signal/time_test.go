package signal

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// bubble runs f in a synctest bubble with a server behind pipes. Time passes
// only when everybody waits; a goroutine that is left fails the test.
func bubble(t *testing.T, cfg Config, f func(t *testing.T, s *Server, p pipes)) {
	synctest.Test(t, func(t *testing.T) {
		cfg.Admit = admitAll
		s, p := New(cfg), make(pipes)
		h := &http.Server{Handler: s}
		done := make(chan error, 1)
		go func() { done <- h.Serve(p) }()
		f(t, s, p)
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
}

// read returns the next message or the close status, with the time it came.
func read(t *testing.T, c *websocket.Conn, start time.Time) (map[string]any, websocket.StatusCode, time.Duration) {
	t.Helper()
	_, b, err := c.Read(context.Background())
	if err != nil {
		return nil, websocket.CloseStatus(err), time.Since(start)
	}
	return object(t, b), 0, time.Since(start)
}

func pipeDial(t *testing.T, p pipes, join bool) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(context.Background(), "ws://pipe/v1/ws", p.dialer())
	if err != nil {
		t.Fatal(err)
	}
	if join {
		if err := c.Write(context.Background(), websocket.MessageText, []byte(`{"type":"join","room":"r"}`)); err != nil {
			t.Fatal(err)
		}
		if m, _, _ := read(t, c, time.Now()); m["type"] != "welcome" {
			t.Fatalf("got %v, want a welcome", m)
		}
	}
	return c
}

func TestWhoDoesNotJoinIsClosed(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, _ *Server, p pipes) {
		start := time.Now()
		c := pipeDial(t, p, false)
		defer c.CloseNow()
		m, _, at := read(t, c, start)
		if m["code"] != "join_timeout" || at != joinTimeout {
			t.Errorf("got %v after %v, want join_timeout after %v", m, at, joinTimeout)
		}
		if _, status, _ := read(t, c, start); status != closeTimeout {
			t.Errorf("got close status %d, want %d", status, closeTimeout)
		}
	})
}

func TestFreshICEServersComeAtHalfTheirLife(t *testing.T) {
	const life = 12 * time.Hour
	issues := 0
	ice := func(string) (json.RawMessage, time.Time, error) {
		if issues++; issues == 2 {
			return nil, time.Time{}, errors.New("no secret")
		}
		return json.RawMessage(`[]`), time.Now().Add(life), nil
	}
	bubble(t, Config{ICE: ice}, func(t *testing.T, _ *Server, p pipes) {
		c := pipeDial(t, p, true)
		defer c.CloseNow()
		start := time.Now()
		for _, want := range []time.Duration{life/2 + renewMin, life + renewMin, 3*life/2 + renewMin} {
			m, status, at := read(t, c, start)
			expires := start.Add(want + life).UTC().Format(time.RFC3339)
			if m["type"] != "ice" || at != want || m["iceExpiresAt"] != expires {
				t.Errorf("got %v (%d) after %v, want ice until %s after %v", m, status, at, expires, want)
			}
		}
	})
}

func TestIssueWaitsHalfALifeWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct{ life, want time.Duration }{
			{-time.Hour, renewMin}, {time.Second, renewMin}, {time.Hour, time.Hour / 2}, {1000 * time.Hour, renewMax},
		} {
			s := New(Config{ICE: func(string) (json.RawMessage, time.Time, error) {
				return json.RawMessage(`[]`), time.Now().Add(tt.life), nil
			}})
			if _, got, err := s.issue("", Grant{}); got != tt.want || err != nil {
				t.Errorf("life %v: got %v %v, want %v", tt.life, got, err, tt.want)
			}
		}
	})
}

// Peers that fall silent in every way there is: they are gone within a known
// time, and the other is told.
func TestSilentPeersAreClosed(t *testing.T) {
	joined := upgrade + textFrame(`{"type":"join","room":"r"}`)
	for _, tt := range []struct {
		name  string
		sends string
		reads bool
		why   reason
		after time.Duration
	}{
		{"answers no ping", joined, true, leftTimeout, pingEvery + pongTimeout},
		{"stops in the middle of a message", joined + "\x81\x85\x00\x00\x00\x00abc", true, leftClosed, readTimeout},
		{"sends fragments without an end", joined + "\x01\x80\x00\x00\x00\x00", true, leftClosed, readTimeout},
		{"takes no byte", joined, false, leftSlow, writeTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, _ *Server, p pipes) {
				start := time.Now()
				alive := pipeDial(t, p, true)
				defer alive.CloseNow()
				silent, far := net.Pipe()
				defer silent.Close()
				p <- far
				cut := make(chan time.Duration, 1)
				go func() {
					if tt.reads {
						_, _ = io.Copy(io.Discard, silent)
						cut <- time.Since(start)
					} else {
						_, _ = silent.Read(make([]byte, 4096)) // the 101
					}
				}()
				if _, err := io.WriteString(silent, tt.sends); err != nil {
					t.Fatal(err)
				}
				if m, _, _ := read(t, alive, start); m["type"] != "peer-joined" {
					t.Fatalf("got %v, want peer-joined", m)
				}
				if m, _, at := read(t, alive, start); m["reason"] != string(tt.why) || at != tt.after {
					t.Errorf("got %v after %v, want peer-left, %s after %v", m, at, tt.why, tt.after)
				}
				if !tt.reads {
					return
				}
				if at := <-cut; at > tt.after+closeGrace {
					t.Errorf("the connection was cut after %v, want %v at most", at, tt.after+closeGrace)
				}
			})
		})
	}
}

// A client that is mute cannot hold up a shutdown beyond its deadline.
func TestShutdownEndsWithItsContext(t *testing.T) {
	for _, deadline := range []time.Duration{0, closeGrace / 2} {
		bubble(t, Config{}, func(t *testing.T, s *Server, p pipes) {
			mute, far := net.Pipe()
			defer mute.Close()
			p <- far
			go func() { _, _ = io.Copy(io.Discard, mute) }()
			if _, err := io.WriteString(mute, upgrade); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			start := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), deadline)
			defer cancel()
			if err := s.Shutdown(ctx); err != context.DeadlineExceeded || time.Since(start) != deadline {
				t.Errorf("got %v after %v, want %v after %v", err, time.Since(start), context.DeadlineExceeded, deadline)
			}
		})
	}
}
