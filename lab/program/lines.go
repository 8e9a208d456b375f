//go:build linux

package program

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
)

// Lines is the output of a program, line by line. The zero value is empty
// and ready; all methods may be called while the program writes.
type Lines struct {
	mu      sync.Mutex
	all     []string
	rest    []byte        // of a line not yet ended
	changed chan struct{} // closed at the next line; nil while nobody waits
}

// Write takes output of the program.
func (l *Lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			break
		}
		l.all, l.rest = append(l.all, string(line)), bytes.Clone(rest)
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return len(b), nil
}

// All returns the lines so far, the last one even if it has not ended.
func (l *Lines) All() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := append([]string(nil), l.all...)
	if len(l.rest) > 0 {
		all = append(all, string(l.rest))
	}
	return all
}

// A Record is one line of a JSON log.
type Record map[string]any

// Number returns a numeric attribute, or 0.
func (r Record) Number(name string) float64 { n, _ := r[name].(float64); return n }

// Text returns an attribute that is a string, or "".
func (r Record) Text(name string) string { s, _ := r[name].(string); return s }

// selfTest is the label of the session in which the server tests itself.
const selfTest = "self-test"

// Records returns the lines with the message msg, but for those about the
// server's test of itself.
func (l *Lines) Records(msg string) []Record {
	var found []Record
	for _, line := range l.All() {
		var r Record
		if json.Unmarshal([]byte(line), &r) == nil && r.Text("msg") == msg && r.Text("label") != selfTest {
			found = append(found, r)
		}
	}
	return found
}

// Await waits until there are n lines with the message msg and returns them;
// it ends the test if they do not come within limit.
func (l *Lines) Await(t testing.TB, msg string, n int, limit time.Duration) []Record {
	t.Helper()
	deadline := time.After(limit)
	for {
		l.mu.Lock()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		found := l.Records(msg)
		if len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("got %d lines with message %q within %s, want %d", len(found), msg, limit, n)
		}
	}
}

// tail returns the last lines, for a failed test to show.
func (l *Lines) tail() string {
	all := l.All()
	return strings.Join(all[max(0, len(all)-100):], "\n")
}
