package nattest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pion/stun/v3"
)

// Line is the report in one line, for a log: the verdict, TURN, and what has
// changed since last. Without last it is what the next line's changes are from.
func (r *Report) Line(last *Report) string {
	parts := []string{words(r.Verdict.Relay), "TURN " + words(r.TURN.State)}
	now := r.traits()
	if last == nil {
		for _, t := range now[2:] {
			if t.value != "" {
				parts = append(parts, strings.TrimSpace(t.name+" "+t.value))
			}
		}
		return strings.Join(parts, "; ")
	}
	changes := 0
	for i, was := range last.traits() {
		if t := now[i]; t.value != was.value {
			changes++
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s, was %s", t.name, orNone(t.value), orNone(was.value))))
		}
	}
	if changes == 0 {
		parts = append(parts, "no change")
	}
	return strings.Join(parts, "; ")
}

// trait is something that a change of is worth a word.
type trait struct{ name, value string }

// traits lists them, always in the same order.
func (r *Report) traits() []trait {
	var broken []string
	for _, u := range r.TURN.URLs {
		if u.State == "failed" {
			broken = append(broken, u.transport())
		}
	}
	slices.Sort(broken)
	t := []trait{{"verdict", words(r.Verdict.Relay)}, {"TURN", words(r.TURN.State)}, {"TURN failing over", strings.Join(broken, ", ")}}
	for _, f := range []struct {
		name string
		*Family
	}{{"IPv4", &r.V4}, {"IPv6", &r.V6}} {
		var seen []string
		for _, m := range f.Mapped {
			seen = append(seen, m.Address.String())
		}
		slices.Sort(seen)
		t = append(t, trait{f.name + " UDP", words(f.UDP)}, trait{"", f.Signature}, trait{"seen as", strings.Join(seen, ", ")})
	}
	return t
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// transport names how a URL is reached: its transport and port.
func (u *URLReport) transport() string {
	uri, err := stun.ParseURI(u.URL)
	if err != nil {
		return u.URL
	}
	name := uri.Proto.String()
	if uri.IsSecure() {
		name = map[string]string{"tcp": "tls", "udp": "dtls"}[name]
	}
	return fmt.Sprintf("%s %d", name, uri.Port)
}
