package nattest

import (
	"fmt"
	"io"
	"slices"
	"strings"
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

var titles = map[string]string{
	notRequired: "RELAY NOT REQUIRED",
	unlikely:    "RELAY UNLIKELY TO BE NEEDED",
	likely:      "RELAY LIKELY TO BE NEEDED",
	required:    "RELAY REQUIRED",
	Unknown:     "INCONCLUSIVE",
}

// WriteText writes the report for a person: the verdict, then at most 20 lines
// of 80 columns (a long URL may exceed them).
func (r *Report) WriteText(w io.Writer) {
	var l lines
	l.add("why", r.Verdict.Reason)
	l.add("peers", r.Verdict.Scope)
	l.add("do", r.Verdict.Advice)
	r.V4.write(&l, "IPv4")
	r.V6.write(&l, "IPv6")
	r.TURN.write(&l)
	label := "note"
	for _, note := range slices.Concat(r.Verdict.Caveats, r.Server.Notes) {
		l.add(label, note)
		label = ""
	}
	l.print(w, r.title())
}

// title is the verdict in one line.
func (r *Report) title() string {
	title, f := titles[r.Verdict.Relay], r.decisive()
	switch name := mappingName(f); {
	case f.UDP == "blocked":
		title += ": UDP is blocked"
	case f.UDP == "partial" && r.Verdict.Relay == Unknown:
		title += ": UDP " + f.silent() + " silent"
	case f.Mapping.Behavior == AddressAndPortDependent:
		title += ": symmetric NAT"
	case name != "":
		title += ": " + name
	}
	if r.Verdict.Relay == likely || r.Verdict.Relay == required {
		title += map[string]string{"ok": "; TURN works", "failed": "; TURN FAILS", "not_tested": "; TURN not tested"}[r.TURN.State]
	}
	return title
}

// decisive is the family that the verdict rests on.
func (r *Report) decisive() *Family {
	if r.V4.UDP == "not_tested" && r.V6.UDP != "not_tested" {
		return &r.V6
	}
	return &r.V4
}

// mappingName is the mapping in words, "" when nothing is known.
func mappingName(f *Family) string {
	switch {
	case f.NAT == "no":
		return "no NAT"
	case f.Mapping.Behavior != Unknown:
		return f.Mapping.Behavior + " mapping"
	case f.UDP != "not_tested" && slices.Equal(f.Mapping.Possible, []string{EndpointIndependent, AddressDependent}):
		return EndpointIndependent + " or " + AddressDependent + " mapping"
	case f.UDP != "not_tested" && len(f.Mapping.Possible) == 2 && !slices.Contains(f.Mapping.Possible, EndpointIndependent):
		return "symmetric NAT"
	}
	return ""
}

func (f *Family) write(l *lines, label string) {
	switch f.UDP {
	case "not_tested":
		l.add(label, "not tested: "+f.Why)
		return
	case "blocked":
		l.add(label, "UDP blocked: "+f.answers())
		return
	case "no_answer":
		l.add(label, "nothing over UDP: "+f.answers())
		return
	}
	name := mappingName(f)
	if name == "" {
		name = "mapping unknown"
	}
	if f.Mapping.Behavior != Unknown {
		name += fmt.Sprintf(" (confidence %s: %d %s)", f.Mapping.Level, len(f.Trials), plural(len(f.Trials), "socket"))
	}
	l.add(label, name)
	if len(f.Trials) > 0 && len(f.Mapped) > 0 {
		seen := fmt.Sprintf("%s is seen as %s", f.Trials[0].Local.Addr(), f.Mapped[0].Address)
		if n := len(f.Mapped) - 1; n > 0 {
			seen += fmt.Sprintf(" and %d more", n)
		}
		l.add("", seen)
	}
	answers := f.answers()
	if f.RTTMS > 0 {
		answers += fmt.Sprintf("; %.1f ms", f.RTTMS)
	}
	l.add("", answers)
}

// answers says how many of the sockets each endpoint answered.
func (f *Family) answers() string {
	by := map[string]string{}
	var counts []string
	for _, e := range f.Endpoints {
		n := fmt.Sprintf("%d/%d answers", e.Answered, e.Asked)
		if e.Answered == 0 {
			n = "no answer"
		}
		if by[n] == "" {
			counts = append(counts, n)
			by[n] = n + " from " + e.Endpoint.String()
		} else {
			by[n] += ", " + e.Endpoint.String()
		}
	}
	for i, n := range counts {
		counts[i] = by[n]
	}
	return strings.Join(counts, "; ")
}

func plural(n int, s string) string {
	if n == 1 {
		return s
	}
	return s + "s"
}

func (r *Relay) write(l *lines) {
	switch r.State {
	case "ok":
		l.add("TURN", "works: a packet went from relay to relay and back")
	case "failed":
		l.add("TURN", "DOES NOT WORK over any URL")
	default:
		l.add("TURN", "not tested: "+r.Why)
	}
	for _, u := range r.URLs {
		switch u.State {
		case "ok":
			l.row("", u.URL, fmt.Sprintf("%.1f ms", u.RTTMS))
		case "failed":
			l.row("", u.URL, "FAILED")
			l.more("at " + u.Failed + ": " + u.Reason)
			l.more(u.Hint)
		default:
			l.row("", u.URL, "not tested")
			l.more(u.Reason)
		}
	}
}
