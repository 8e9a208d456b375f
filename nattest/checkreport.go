package nattest

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// CheckReport is the outcome of Check. docs/nat.md describes its JSON.
type CheckReport struct {
	Schema     int       `json:"schema"` // 1; members may be added to it
	Time       time.Time `json:"time"`
	DurationMS int64     `json:"duration_ms"`
	Server     Server    `json:"server"`
	OK         bool      `json:"ok"` // nothing that was tested failed
	Checks     []Item    `json:"checks"`
}

// Item is one thing checked.
type Item struct {
	Name   string     `json:"name"` // dns, http, ice, stun, turn or relay_ports
	Target string     `json:"target"`
	State  string     `json:"state"`        // ok, failed or not_tested
	MS     float64    `json:"ms,omitempty"` // round trip
	Reason string     `json:"reason,omitempty"`
	Hint   string     `json:"hint,omitempty"`
	TURN   *URLReport `json:"turn,omitempty"` // of turn
}

// ExitCode is what the process should return: 0 fine, 1 something failed.
func (r *CheckReport) ExitCode() int {
	if r.OK {
		return 0
	}
	return 1
}

// WriteText writes the report for a person: the result, then at most 20 lines.
func (r *CheckReport) WriteText(w io.Writer) {
	count := map[string]int{}
	var l lines
	for _, state := range []string{"failed", "not_tested", "ok"} { // what matters first
		for _, it := range r.Checks {
			if it.State == state {
				count[state]++
				l.add(strings.TrimPrefix(it.Name, "relay_"), it.text())
			}
		}
	}
	for _, n := range r.Server.Notes {
		l.add("note", n)
	}
	title := fmt.Sprintf("OK: %s, %d checks passed", r.Server.Host, count["ok"])
	if !r.OK {
		title = fmt.Sprintf("FAILED: %s, %d of %d checks", r.Server.Host, count["failed"], len(r.Checks))
	}
	if n := count["not_tested"]; n > 0 {
		title += fmt.Sprintf(", %d not tested", n)
	}
	l.print(w, title)
}

func (it Item) text() string {
	s := it.Target
	switch it.State {
	case "ok":
		s += " ok"
		if it.MS > 0 {
			s += fmt.Sprintf(", %.1f ms", it.MS)
		}
		return s
	case "failed":
		s += " FAILED"
		if it.TURN != nil {
			s += " at " + it.TURN.Failed
		}
	default:
		s += " not tested"
	}
	s += ": " + it.Reason
	if it.Hint != "" {
		s += "; " + it.Hint
	}
	return s
}
