package sdp

import (
	"encoding/json"
	"strings"
)

// Mend undoes the accidents that leave no doubt of what was meant: a whole
// description object, or a JSON string, in place of the text; \r\n as four
// characters; line ends of the wrong kind; blank lines; a last line without an
// end. The notes say what the sender should mend; line ends are not worth one.
func Mend(raw string) (text string, notes []Fault) {
	text = raw
	if inner, ok := unwrap(text); ok {
		text = inner
		notes = append(notes, Fault{"sdp_double_encoded", "the description was encoded as JSON twice", "send desc.sdp, not JSON.stringify(desc)"})
	}
	if !strings.Contains(text, "\n") && strings.Contains(text, `\n`) {
		text = strings.NewReplacer(`\r\n`, "\n", `\n`, "\n").Replace(text)
		notes = append(notes, Fault{"sdp_escaped", `line ends were sent as the characters \r\n`, "do not escape the text again; JSON does it"})
	}
	if !strings.HasPrefix(text, "v=") {
		return text, notes
	}
	var b strings.Builder
	b.Grow(len(text) + 64)
	for line := range strings.Lines(text) {
		if line = strings.Trim(line, "\r\n"); line != "" {
			b.WriteString(line)
			b.WriteString("\r\n")
		}
	}
	return b.String(), notes
}

// unwrap returns the description in a JSON object or string.
func unwrap(text string) (string, bool) {
	for range 3 { // some encode three times
		trimmed := strings.TrimSpace(text)
		var inner string
		switch {
		case strings.HasPrefix(trimmed, `"`):
			if json.Unmarshal([]byte(trimmed), &inner) != nil {
				return "", false
			}
		case strings.HasPrefix(trimmed, "{"):
			var o struct{ SDP string }
			if json.Unmarshal([]byte(trimmed), &o) != nil || o.SDP == "" {
				return "", false
			}
			inner = o.SDP
		default:
			return "", false
		}
		if strings.HasPrefix(inner, "v=") {
			return inner, true
		}
		text = inner
	}
	return "", false
}

// MendCandidate gives a candidate line the form that every stack takes. An
// empty one, the end of candidates, stays empty.
func MendCandidate(line string) string {
	line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "a="))
	if line == "" || strings.HasPrefix(line, "candidate:") {
		return line
	}
	if _, ok := ParseCandidate("candidate:" + line); ok {
		return "candidate:" + line
	}
	return line
}
