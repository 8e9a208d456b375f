package main

import (
	"strings"
	"testing"
	"unicode"

	"turnkey/nattest/icecheck"
	"turnkey/signal"
)

// Whoever knows the code of a meeting, and the server, send text that goes to a
// terminal.
func TestWhatOthersSayIsClean(t *testing.T) {
	const evil = "\x1b[2J\nexit 0"
	e := refusedRoom(&signal.Error{Message: evil, Hint: evil})
	for name, text := range map[string]string{
		"an attempt that failed":   describeAttempt(mirrored(icecheck.Attempt{Reason: evil})),
		"an attempt that did well": describeAttempt(mirrored(icecheck.Attempt{Connected: true, Local: evil, Remote: evil, Protocol: evil})),
		"a refusal":                e.Reason,
		"its hint":                 e.Hint,
	} {
		if strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%s: got %q", name, text)
		}
	}
}
