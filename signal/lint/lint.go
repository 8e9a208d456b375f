// Package lint says what is wrong with a session description, an ICE candidate
// or a list of ICE servers that somebody has pasted, and how to mend it.
//
// [Check] decides, [Handler] serves it. Nothing is kept of what was pasted.
package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"turnkey/signal/sdp"
)

// maxText bounds what is looked at, in bytes.
const maxText = 64 << 10

// The kinds of text that Check knows.
const (
	Offer      = "offer"
	Answer     = "answer"
	Candidate  = "candidate"
	ICEServers = "iceServers"
	Unknown    = "unknown"
)

// How much a finding matters.
const (
	Error   = "error"   // it will not work
	Warning = "warning" // it may not work, or not everywhere
	Info    = "info"    // good to know
)

// Finding is one thing that was found.
type Finding struct {
	Severity string `json:"severity"`
	sdp.Fault
}

// Report is what Check says.
type Report struct {
	Kind     string    `json:"kind"`
	OK       bool      `json:"ok"` // no finding is an error
	Findings []Finding `json:"findings"`
	Mended   string    `json:"mended,omitempty"` // the text as it should be, where that differs
}

func (r *Report) add(severity, code, message, hint string) {
	r.Findings = append(r.Findings, Finding{severity, sdp.Fault{Code: code, Message: message, Hint: hint}})
}

// Check finds out what text is, and looks at it. now tells what has expired.
func Check(text string, now time.Time) Report {
	r := Report{Kind: Unknown, Findings: []Finding{}}
	text = strings.TrimSpace(text)
	mended, notes := sdp.Mend(text)
	switch line := sdp.MendCandidate(candidateIn(text)); {
	case text == "":
		r.add(Error, "empty", "there is nothing to look at", "paste an SDP, a candidate, or iceServers")
	case len(text) > maxText:
		r.add(Error, "too_large", fmt.Sprintf("the text has more than %d bytes", maxText), "paste one description at a time")
	case strings.HasPrefix(mended, "v="):
		r.description(text, mended, notes)
	case strings.HasPrefix(line, "candidate:"):
		r.candidate(text, line)
	default:
		r.servers(text, now)
	}
	r.OK = true
	for _, f := range r.Findings {
		r.OK = r.OK && f.Severity != Error
	}
	return r
}

func (r *Report) description(text, mended string, notes []sdp.Fault) {
	d := sdp.Parse(mended)
	r.Kind = Offer
	kind := sdp.Offer
	if len(d.Media) > 0 && d.Media[0].Setup != "actpass" && d.Media[0].Setup != "" {
		r.Kind, kind = Answer, sdp.Answer
	}
	for _, n := range notes {
		r.Findings = append(r.Findings, Finding{Error, n})
	}
	if f := d.Check(kind); f != nil {
		r.Findings = append(r.Findings, Finding{Error, *f})
	}
	if mended != text && mended != text+"\r\n" {
		r.Mended = mended
		if len(notes) == 0 {
			r.add(Info, "line_ends", "lines do not end with CR LF, or some are empty; most stacks take that, not all", "send pc.localDescription.sdp as it is")
		}
	}
	r.candidates(d)
}

// candidates looks at those of a description.
func (r *Report) candidates(d sdp.Description) {
	local, relay := 0, 0
	for _, c := range d.Candidates {
		if c.Local() {
			local++
		}
		if c.Type == "relay" {
			relay++
		}
	}
	switch n := len(d.Candidates); {
	case n == 0 && !d.Trickle && !d.Lite:
		r.add(Warning, "no_candidates", "there is no candidate in it, and nothing says that candidates follow (a=ice-options:trickle)",
			"a stack that does not trickle sends its description when iceGatheringState is complete")
	case n == 0:
		r.add(Info, "trickle", "there is no candidate in it: they have to follow, one by one", "send each event.candidate to the other side")
	case local == n:
		r.add(Warning, "candidates_local_only", "all candidates are of the machine or network that they were made in", "give the RTCPeerConnection iceServers, and see that they are reached")
	case relay == 0:
		r.add(Info, "no_relay_candidate", "none of the candidates is a relay", "with a TURN server in iceServers there is one, if the server is reached and the credential is current")
	}
}

// candidateIn returns the line of a candidate, also out of the object of an
// icecandidate event.
func candidateIn(text string) string {
	var o struct {
		Candidate json.RawMessage `json:"candidate"`
	}
	if !strings.HasPrefix(text, "{") || json.Unmarshal([]byte(text), &o) != nil {
		return text
	}
	var line string
	if json.Unmarshal(o.Candidate, &line) == nil {
		return line
	}
	return candidateIn(strings.TrimSpace(string(o.Candidate)))
}

func (r *Report) candidate(text, line string) {
	r.Kind = Candidate
	c, ok := sdp.ParseCandidate(line)
	if !ok {
		r.add(Error, "candidate_invalid", "this is no candidate as RFC 8839 has it: foundation, component, transport, priority, address, port, typ and a type", "send event.candidate as it is")
		return
	}
	if strings.HasPrefix(text, "{") {
		var o map[string]json.RawMessage
		_ = json.Unmarshal([]byte(text), &o) // it was read before
		if inner, nested := o["candidate"]; nested && strings.HasPrefix(string(inner), "{") {
			_ = json.Unmarshal(inner, &o)
		}
		if o["sdpMid"] == nil && o["sdpMLineIndex"] == nil {
			r.add(Error, "candidate_no_section", "it names no media section: neither sdpMid nor sdpMLineIndex", "send all of event.candidate, not the line alone")
		}
	} else if line != text {
		r.Mended = line
	}
	switch {
	case strings.HasSuffix(c.Address, ".local"):
		r.add(Warning, "candidate_mdns", "the address is hidden behind a name for mDNS, which is found in the same network only", "pages that may use the camera show addresses; other candidates (srflx, relay) serve elsewhere")
	case c.Local():
		r.add(Warning, "candidate_local", "nobody outside the machine reaches "+c.Address, "other candidates have to serve")
	}
	what := map[string]string{
		"host": "an address of the machine itself", "srflx": "the address that a STUN server saw (server-reflexive)",
		"prflx": "the address that the other peer saw (peer-reflexive)", "relay": "an address of a TURN server",
	}[c.Type]
	r.add(Info, "candidate_type", fmt.Sprintf("%s, over %s: %s", c.Type, c.Transport, what), "")
}

// Handler serves POST /v1/lint: the text in the body, the Report as JSON.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxText+1024))
		if err != nil {
			body = make([]byte, maxText+1) // the report says that it is too large
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(Check(string(body), time.Now())) // the client has gone
	})
}
