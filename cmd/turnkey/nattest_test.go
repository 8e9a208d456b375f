package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"turnkey/nattest"
)

// after calls done once as many lines have been written.
type after struct {
	bytes.Buffer
	lines int
	done  func()
}

func (a *after) Write(p []byte) (int, error) {
	if a.lines -= bytes.Count(p, []byte("\n")); a.lines <= 0 {
		a.done()
	}
	return a.Buffer.Write(p)
}

// A server that is gone does not end the watch; an interrupt does, with the
// exit code of the last run.
func TestEveryRunHasItsLine(t *testing.T) {
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	nobody := fmt.Sprintf("127.0.0.1:%d", ports[0])
	for _, asJSON := range []bool{false, true} {
		t.Run(fmt.Sprintf("JSON %t", asJSON), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			out := &after{lines: 2, done: cancel}
			p, _, err := (&call{ctx: ctx, stdout: out, stderr: io.Discard}).newProbe("nattest", 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			p.cfg.Host, p.json = nobody, asJSON
			err = p.monitor(time.Millisecond)
			var code exitError
			if !errors.As(err, &code) || code != 5 {
				t.Errorf("got %v, want exit code 5", err)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if len(lines) != 2 {
				t.Errorf("got %d lines, want 2:\n%s", len(lines), out.String())
			}
			for _, line := range lines {
				judgeLine(t, line, asJSON)
			}
		})
	}
}

func judgeLine(t *testing.T, line string, asJSON bool) {
	t.Helper()
	var doc struct {
		Time  time.Time
		Error struct{ Message, Hint string }
	}
	if !asJSON {
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  no answer: 127\.0\.0\.1:\d+ answers neither`).MatchString(line) {
			t.Errorf("got %q, want the time and what happened", line)
		}
	} else if err := json.Unmarshal([]byte(line), &doc); err != nil || doc.Time.IsZero() || doc.Error.Message == "" || doc.Error.Hint == "" {
		t.Errorf("got %s, %v; want time and error", line, err)
	}
}

func TestInterruptedBeforeThereIsAnything(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range []string{"127.0.0.1:1", "-every 10s 127.0.0.1:1", "-json 127.0.0.1:1"} {
		var out, stderr bytes.Buffer
		if got := run(ctx, append([]string{"nattest"}, strings.Fields(args)...), nil, &out, &stderr); got != exitUnknown {
			t.Errorf("%s: got exit code %d (%s), want %d", args, got, stderr.String(), exitUnknown)
		}
	}
}

// The exit code of every outcome is that of the report.
func TestExitCodeIsThatOfTheReport(t *testing.T) {
	for _, tt := range []struct {
		relay, turn string
		want        int
	}{
		{"not_required", "ok", 0}, {"not_required", "failed", 0}, {"unlikely", "failed", 0}, {"unlikely", "not_tested", 0},
		{"likely", "ok", 1}, {"required", "ok", 1},
		{"likely", "failed", 3}, {"required", "failed", 3},
		{"likely", "not_tested", 4}, {"required", "not_tested", 4}, {"unknown", "ok", 4}, {"unknown", "failed", 4},
	} {
		var out bytes.Buffer
		p := &probe{call: &call{stdout: &out}, name: "nattest"}
		r := &nattest.Report{Verdict: nattest.Verdict{Relay: tt.relay}, TURN: nattest.Relay{State: tt.turn}}
		for _, p.json = range []bool{false, true} {
			out.Reset()
			if got := report(io.Discard, command{name: "nattest"}, p.print(r, r.WriteText)); got != tt.want || out.Len() == 0 {
				t.Errorf("%s, TURN %s, JSON %t: got exit code %d and %d bytes, want %d", tt.relay, tt.turn, p.json, got, out.Len(), tt.want)
			}
		}
	}
}

func TestProbeFlags(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration
		bad  bool
	}{
		{"true", 150 * time.Second, false}, {"false", 0, false}, {"60s", time.Minute, false}, {"60", 0, true}, {"x", 0, true}, {"0s", 0, true},
	} {
		var s span
		if err := s.Set(tt.text); (err != nil) != tt.bad || time.Duration(s) != tt.want {
			t.Errorf("-lifetime=%s: got %s, %v; want %s", tt.text, time.Duration(s), err, tt.want)
		}
	}
}
