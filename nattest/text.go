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

func (l *lines) add(label, text string) {
	if text == "" {
		return
	}
	line := fmt.Sprintf("  %-*s", labelled-2, label)
	indent := strings.Repeat(" ", labelled)
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
	title := titles[r.Verdict.Relay]
	if r.V4.UDP == "blocked" || r.V4.UDP == "not_tested" && r.V6.UDP == "blocked" {
		title += ": UDP is blocked"
	} else if f := r.decisive(); f.UDP == "partial" && r.Verdict.Relay == Unknown {
		title += ": UDP " + f.silent() + " silent"
	} else if n := mappingName(r.decisive()); n != "" {
		title += ": " + n
	}
	if r.Verdict.Relay == likely || r.Verdict.Relay == required {
		title += "; TURN " + map[string]string{"ok": "works", "failed": "FAILS"}[r.TURN.State]
		if r.TURN.State == "not_tested" {
			title += "not tested"
		}
	}
	var l lines
	l.add("why", r.Verdict.Reason)
	l.add("with", r.Verdict.Scope)
	l.add("do", r.Verdict.Advice)
	l.add("IPv4", r.V4.text())
	l.add("IPv6", r.V6.text())
	l.add("TURN", r.TURN.text())
	for _, u := range r.TURN.URLs {
		l.add("", u.URL+" "+u.text())
	}
	for i, c := range append(append([]string(nil), r.Verdict.Caveats...), r.Server.Notes...) {
		if i == 0 {
			l.add("note", c)
		} else {
			l.add("", c)
		}
	}
	l.print(w, title)
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

func (f *Family) text() string {
	switch f.UDP {
	case "not_tested":
		return "not tested: " + f.Why
	case "blocked":
		return "UDP blocked: no answer from " + f.ports()
	case "no_answer":
		return "no answer over UDP from " + f.ports()
	}
	name := mappingName(f)
	if name == "" {
		name = "mapping unknown"
	}
	s := name
	if f.Mapping.Behavior != Unknown {
		s += fmt.Sprintf(" (confidence %s: %d %s)", f.Mapping.Level, len(f.Trials), plural(len(f.Trials), "socket"))
	}
	if len(f.Trials) > 0 && len(f.Mapped) > 0 {
		s += fmt.Sprintf(", %s seen as %s", f.Trials[0].Local.Addr(), f.Mapped[0].Address)
		if n := len(f.Mapped) - 1; n > 0 {
			s += fmt.Sprintf(" and %d more", n)
		}
	}
	s += "; STUN " + f.ports()
	if f.RTTMS > 0 {
		s += fmt.Sprintf(", %.1f ms", f.RTTMS)
	}
	return s
}

// ports lists the endpoints with how many of the sockets each answered.
func (f *Family) ports() string {
	var out []string
	for _, e := range f.Endpoints {
		out = append(out, fmt.Sprintf("%s %d/%d", e.Endpoint, e.Answered, e.Asked))
	}
	return strings.Join(out, ", ")
}

func plural(n int, s string) string {
	if n == 1 {
		return s
	}
	return s + "s"
}

func (r *Relay) text() string {
	switch r.State {
	case "ok":
		return "verified: a packet went from relay to relay and back"
	case "failed":
		return "DOES NOT WORK over any URL"
	}
	return "not tested: " + r.Why
}

func (u *URLReport) text() string {
	switch u.State {
	case "ok":
		return fmt.Sprintf("ok, %.1f ms", u.RTTMS)
	case "failed":
		s := fmt.Sprintf("FAILED at %s: %s", u.Failed, u.Reason)
		if u.Hint != "" {
			s += "; " + u.Hint
		}
		return s
	}
	return "not tested: " + u.Reason
}
