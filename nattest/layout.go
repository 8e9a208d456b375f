package nattest

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"turnkey/nattest/around"
)

const (
	columns  = 80
	maxLines = 20 // after the first
	labelled = 10 // where the text of a line begins
)

// lines collects labelled text, wrapped at 80 columns.
type lines []string

// add wraps text beside its label.
func (l *lines) add(label, text string) {
	l.wrap(fmt.Sprintf("  %-*s", labelled-2, label), labelled, text)
}

// more wraps text below what it belongs to.
func (l *lines) more(text string) { l.wrap(strings.Repeat(" ", labelled+2), labelled+2, text) }

// row puts a word at the end of the line.
func (l *lines) row(label, text, end string) {
	pad := max(1, columns-labelled-len([]rune(text))-len([]rune(end)))
	if end == "" {
		pad = 0
	}
	*l = append(*l, fmt.Sprintf("  %-*s%s%s%s", labelled-2, label, text, strings.Repeat(" ", pad), end))
}

// wrap breaks text at 80 columns: line is what it begins with.
func (l *lines) wrap(line string, margin int, text string) {
	if text == "" {
		return
	}
	indent := strings.Repeat(" ", margin)
	fresh := true
	for _, w := range strings.Fields(text) {
		if !fresh && len([]rune(line))+1+len([]rune(w)) > columns {
			*l = append(*l, line)
			line, fresh = indent, true
		}
		if !fresh {
			line += " "
		}
		line, fresh = line+w, false
	}
	*l = append(*l, line)
}

// print writes the title and at most maxLines more.
func (l lines) print(w io.Writer, title string) {
	if len(l) > maxLines {
		l = append(l[:maxLines-1:maxLines-1], fmt.Sprintf("  (%d more lines: see -json)", len(l)-maxLines+1))
	}
	io.WriteString(w, title+"\n"+strings.Join(l, "\n")+"\n")
}

// WriteLines writes a title and labelled lines as reports have them: 80 columns
// wide, and at most 20 lines below the title.
func WriteLines(w io.Writer, title string, text []around.Line) {
	var l lines
	for _, line := range text {
		l.add(line.Label, line.Text)
	}
	l.print(w, title)
}

// section is a part of the text. Where there are too many lines, those that
// matter least are left out first.
type section struct {
	matters int
	lines
}

// fit leaves out lines until at most room are left, and counts them.
func fit(all []section, room int) (kept lines, left int) {
	for ; ; left++ {
		n, least := 0, -1
		for i, s := range all {
			n += len(s.lines)
			if len(s.lines) > 0 && (least < 0 || s.matters <= all[least].matters) {
				least = i
			}
		}
		if n <= room || least < 0 {
			break
		}
		all[least].lines = all[least].lines[:len(all[least].lines)-1]
	}
	for _, s := range all {
		kept = append(kept, s.lines...)
	}
	return kept, left
}

// distinct lists what differs.
func distinct(list []string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ", ")
}

func plural(n int, s string) string {
	if n == 1 {
		return s
	}
	return s + "s"
}
