package nattest

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteEvidence writes what WriteText does, all of it, and below that what it
// was read from: every transaction, and every stage of TURN.
func (r *Report) WriteEvidence(w io.Writer) {
	var b strings.Builder
	fmt.Fprintln(&b, r.title())
	for _, s := range r.sections() {
		for _, line := range s.lines {
			fmt.Fprintln(&b, line)
		}
	}
	fmt.Fprintf(&b, "\nTested at %s, in %.1f s, against %s\n", r.Time.Format(time.DateTime+" MST"), float64(r.DurationMS)/1000, r.Server.Host)
	r.V4.writeEvidence(&b, "IPv4")
	r.V6.writeEvidence(&b, "IPv6")
	for _, u := range r.TURN.URLs {
		fmt.Fprintf(&b, "\n%s: %s\n", u.URL, words(u.State))
		for _, s := range u.Stages {
			line := fmt.Sprintf("  %-12s %-10s %8.1f ms  %s", s.Name, words(s.State), s.MS, s.Detail)
			fmt.Fprintln(&b, strings.TrimRight(line, " "))
		}
	}
	io.WriteString(w, b.String())
}

func (f *Family) writeEvidence(b *strings.Builder, name string) {
	if f.UDP == NotTested {
		return
	}
	fmt.Fprintf(b, "\n%s: UDP %s, NAT %s, pooling %s, ports kept %s, stable %s, unsolicited packets disturb %s, loss %.0f %%\n",
		name, words(f.UDP), f.NAT, f.Pooling, f.PortPreservation, f.Stable, words(f.InboundDisturbs), 100*f.Loss)
	fmt.Fprintf(b, "mapping: may be %s\n", strings.Join(f.Mapping.Possible, ", "))
	if g := f.Filtering; g.Behavior != NotTested {
		fmt.Fprintf(b, "filtering: may be %s; %d rounds, answers: control %d, other port %d, other address and port %d\n",
			strings.Join(g.Possible, ", "), g.Rounds.Sent, g.Rounds.ControlOK, g.Rounds.ChangedPortOK, g.Rounds.ChangedBothOK)
	}
	for _, e := range f.Evidence {
		fmt.Fprintf(b, "  %3d  %8.1f ms  %-14s %s -> %s, sent %d: %s\n", e.ID, e.TMS, words(e.Kind), e.Local, e.To, e.Sends, e.said())
	}
}

// said is the answer of a transaction in words.
func (e Evidence) said() string {
	if !e.From.IsValid() && e.Fault == "" {
		return "no answer"
	}
	s := fmt.Sprintf("error %d", e.Error)
	if e.Error == 0 {
		s = "seen as " + e.Mapped.String()
	}
	if e.From != e.To {
		s += " by " + e.From.String()
	}
	if e.TookMS > 0 {
		s += fmt.Sprintf(" after %.1f ms", e.TookMS)
	}
	if e.Fault != "" {
		s += "; does not count: " + e.Fault
	}
	return s
}

// words is a word of JSON as people write it.
func words(s string) string { return strings.ReplaceAll(s, "_", " ") }
