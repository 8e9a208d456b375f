package main

import (
	"io"
	"os"
)

// status is one line on a terminal that is written again and again. On
// anything but a terminal it does not exist.
type status struct {
	w io.Writer // nil: no terminal
}

// newStatus looks at what a program writes its errors to. term is $TERM.
func newStatus(w io.Writer, term string) *status {
	if f, ok := w.(*os.File); ok && term != "dumb" {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &status{w}
		}
	}
	return &status{}
}

// statusWidth is less than any terminal has, for a line that wraps cannot be
// written again.
const statusWidth = 78

// show replaces the line.
func (s *status) show(what string) {
	if s.w == nil {
		return
	}
	if r := []rune(what); len(r) > statusWidth {
		what = string(r[:statusWidth-1]) + "…"
	}
	_, _ = io.WriteString(s.w, "\r\x1b[K"+what) // a terminal that has gone away
}

// clear leaves the line empty.
func (s *status) clear() { s.show("") }
