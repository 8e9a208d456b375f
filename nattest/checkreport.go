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
	Name   string     `json:"name"` // dns, http, ice, certificate, websocket, credential, clock, stun, turn or relay_ports
	Target string     `json:"target"`
	State  string     `json:"state"`            // ok, warning (it works, and needs a look), failed or not_tested
	MS     float64    `json:"ms,omitempty"`     // round trip
	Detail string     `json:"detail,omitempty"` // what was found
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

// WriteText writes the report for a person: the result, then at most 20 lines,
// what matters first.
func (r *CheckReport) WriteText(w io.Writer) {
	count := map[string]int{}
	untested := false // TURN, whole
	var l lines
	for _, state := range []string{"failed", "warning", "not_tested", "ok"} {
		for _, it := range r.Checks {
			if it.State == state {
				count[state]++
				untested = untested || it.Name == "turn" && it.TURN == nil
				it.write(&l)
			}
		}
	}
	for _, n := range r.Server.Notes {
		l.add("note", n)
	}
	title := fmt.Sprintf("OK: %s passes %d checks", r.Server.Host, count["ok"]+count["warning"])
	if !r.OK {
		title = fmt.Sprintf("FAILED: %s fails %d of %d checks", r.Server.Host, count["failed"], len(r.Checks))
	}
	if n := count["warning"]; n > 0 {
		title += fmt.Sprintf("; %d %s", n, plural(n, "warning"))
	}
	if n := count["not_tested"]; n > 0 {
		title += fmt.Sprintf("; %d skipped", n)
	}
	if r.OK && untested {
		title = "NOT TESTED WHOLE: " + strings.TrimPrefix(title, "OK: ") + ", TURN among them"
	}
	l.print(w, title)
}

// titled says what kind of thing a target is that does not tell by itself.
var titled = map[string]string{"dns": "DNS of ", "stun": "STUN on ", "certificate": "certificate of "}

func (it Item) write(l *lines) {
	target, end := titled[it.Name]+it.Target, it.Detail
	if it.MS > 0 {
		end = fmt.Sprintf("%.1f ms", it.MS)
	}
	below := ""
	if len([]rune(target))+len([]rune(end)) > columns-labelled-1 {
		end, below = "", end
	}
	switch it.State {
	case "ok":
		l.row("ok", target, end)
		l.more(below)
	case "warning":
		l.row("WARNING", target, "")
		l.more(it.Reason)
		l.more(it.Hint)
	case "failed":
		l.row("FAILED", target, "")
		why := it.Reason
		if it.TURN != nil && it.TURN.Failed != "" {
			why = "at " + it.TURN.Failed + ": " + why
		}
		l.more(why)
		l.more(it.Hint)
	default:
		l.add("skipped", target+": "+it.Reason)
		l.more(it.Hint)
	}
}
