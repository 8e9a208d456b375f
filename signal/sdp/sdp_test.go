package sdp

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const session = "v=0\r\no=- 4611 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-options:trickle\r\n"

func media(kind, mid, setup string) string {
	return "m=" + kind + " 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:x7Gh\r\na=ice-pwd:0123456789012345678901\r\n" +
		"a=fingerprint:sha-256 AA:BB\r\na=setup:" + setup + "\r\na=mid:" + mid + "\r\n"
}

var offer = session + media("audio", "0", "actpass") + media("video", "1", "actpass")

func TestParse(t *testing.T) {
	d := Parse(offer + "a=candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host ufrag x7Gh\r\na=end-of-candidates\r\n")
	if !d.Valid || !d.Trickle || !d.Complete || d.Lite || len(d.Media) != 2 || !slices.Equal(d.Ufrags(), []string{"x7Gh"}) || d.Origin != "- 4611 2 IN IP4 127.0.0.1" {
		t.Errorf("got %+v", d)
	}
	if m := d.Media[1]; m.Kind != "video" || m.Mid != "1" || m.Setup != "actpass" || !m.Fingerprint || m.Rejected {
		t.Errorf("got %+v", m)
	}
	if want := (Candidate{"udp", "192.0.2.1", "host", "x7Gh"}); len(d.Candidates) != 1 || d.Candidates[0] != want {
		t.Errorf("got %+v, want %+v", d.Candidates, want)
	}
}

func TestCheck(t *testing.T) {
	cut := func(s string, lines ...string) string {
		for _, l := range lines {
			for line := range strings.Lines(s) {
				if strings.HasPrefix(line, l) {
					s = strings.ReplaceAll(s, line, "")
				}
			}
		}
		return s
	}
	answer := session + media("audio", "0", "active") + media("video", "1", "active")
	for _, tt := range []struct {
		name, text string
		kind       Kind
		code       string
	}{
		{"an offer", offer, Offer, ""},
		{"an answer", answer, Answer, ""},
		{"an answer that rejects one section", strings.Replace(answer, "video 9", "video 0", 1), Answer, ""},
		{"an offer that is bundled on its first section", strings.Replace(offer, "video 9", "video 0", 1) + "a=bundle-only\r\n", Offer, ""},
		{"what is set for the session counts", cut(offer, "a=fingerprint")[:len(session)] + "a=fingerprint:sha-256 AA\r\n" + cut(offer, "a=fingerprint")[len(session):], Offer, ""},
		{"nothing", "", Offer, "sdp_invalid"},
		{"an object", "[object Object]", Offer, "sdp_invalid"},
		{"no media", session, Offer, "sdp_no_media"},
		{"everything rejected", strings.ReplaceAll(answer, " 9 UDP", " 0 UDP"), Answer, "sdp_no_media"},
		{"no fingerprint", cut(offer, "a=fingerprint"), Offer, "sdp_no_fingerprint"},
		{"no username fragment", cut(offer, "a=ice-ufrag"), Offer, "sdp_no_ice"},
		{"no password", cut(offer, "a=ice-pwd"), Offer, "sdp_no_ice"},
		{"no setup", cut(offer, "a=setup"), Offer, "sdp_no_setup"},
		{"an offer sent as an answer", offer, Answer, "sdp_setup"},
	} {
		f := Parse(tt.text).Check(tt.kind)
		if f == nil && tt.code != "" || f != nil && (f.Code != tt.code || f.Message == "" || f.Hint == "") {
			t.Errorf("%s: got %+v, want %q", tt.name, f, tt.code)
		}
	}
}

func TestAnswers(t *testing.T) {
	o := Parse(offer)
	for name, tt := range map[string]struct {
		text string
		ok   bool
	}{
		"the same sections":     {session + media("audio", "0", "active") + media("video", "1", "active"), true},
		"sections without mids": {strings.ReplaceAll(session+media("audio", "", "active")+media("video", "", "active"), "a=mid:\r\n", ""), true},
		"one too few":           {session + media("audio", "0", "active"), false},
		"in another order":      {session + media("video", "1", "active") + media("audio", "0", "active"), false},
		"with other mids":       {session + media("audio", "a", "active") + media("video", "b", "active"), false},
	} {
		if f := Parse(tt.text).Answers(o); (f == nil) != tt.ok {
			t.Errorf("%s: got %+v", name, f)
		}
	}
}

func TestMend(t *testing.T) {
	object, _ := json.Marshal(map[string]string{"type": "offer", "sdp": offer})
	text, _ := json.Marshal(offer)
	twice, _ := json.Marshal(string(object))
	for _, tt := range []struct {
		name, raw, want, note string
	}{
		{"as it is", offer, offer, ""},
		{"a whole description", string(object), offer, "sdp_double_encoded"},
		{"a string in a string", string(text), offer, "sdp_double_encoded"},
		{"a description, twice", string(twice), offer, "sdp_double_encoded"},
		{"line ends as characters", strings.ReplaceAll(offer, "\r\n", `\r\n`), offer, "sdp_escaped"},
		{"LF", strings.ReplaceAll(offer, "\r\n", "\n"), offer, ""},
		{"CR CR LF", strings.ReplaceAll(offer, "\r\n", "\r\r\n"), offer, ""},
		{"blank lines", strings.ReplaceAll(offer, "\r\n", "\r\n\r\n"), offer, ""},
		{"trimmed", strings.TrimSpace(offer), offer, ""},
		{"something else", `{"candidate":"x"}`, `{"candidate":"x"}`, ""},
		{"not JSON", `{`, `{`, ""},
		{"nothing", "", "", ""},
	} {
		got, notes := Mend(tt.raw)
		note := ""
		if len(notes) > 0 {
			note = notes[0].Code
		}
		if got != tt.want || note != tt.note || len(notes) > 1 {
			t.Errorf("%s: got %q and %v, want %q", tt.name, got, notes, tt.note)
		}
	}
}

func TestCandidates(t *testing.T) {
	const line = "candidate:1 1 UDP 2122260223 192.0.2.1 50000 typ srflx raddr 0.0.0.0 rport 9 generation 0 ufrag x7Gh network-cost 999"
	for _, raw := range []string{line, "a=" + line, line[len("candidate:"):], " " + line + "\r\n"} {
		if got := MendCandidate(raw); got != line {
			t.Errorf("%q: got %q", raw, got)
		}
	}
	for _, raw := range []string{"", "nonsense"} {
		if got := MendCandidate(raw); got != raw {
			t.Errorf("%q: got %q, want it as it is", raw, got)
		}
	}
	if c, ok := ParseCandidate(line); !ok || c != (Candidate{"udp", "192.0.2.1", "srflx", "x7Gh"}) {
		t.Errorf("got %+v, %v", c, ok)
	}
	for address, want := range map[string]bool{
		"192.0.2.1": false, "127.0.0.1": true, "::1": true, "169.254.1.1": true, "fe80::1": true, "a1b2.local": true, "2001:db8::1": false, "example.org": false,
	} {
		if got := (Candidate{Address: address}).Local(); got != want {
			t.Errorf("%s: got local %v, want %v", address, got, want)
		}
	}
	for _, bad := range []string{"", "candidate:", "candidate:1 1 udp 1 192.0.2.1 1 typ", "candidate:1 1 udp 1 192.0.2.1 1 typ bogus"} {
		if c, ok := ParseCandidate(bad); ok {
			t.Errorf("%q: got %+v, want none", bad, c)
		}
	}
}

// Whatever comes in: no panic, and what was mended needs no mending.
func FuzzMend(f *testing.F) {
	f.Add(offer)
	f.Add(`{"type":"offer","sdp":"v=0\r\n"}`)
	f.Add(`"v=0\\r\\n"`)
	f.Add("v=0\n\n\na=candidate:1 1 udp 1 ::1 1 typ host\n")
	f.Fuzz(func(t *testing.T, raw string) {
		text, _ := Mend(raw)
		again, notes := Mend(text)
		if strings.HasPrefix(text, "v=") && (again != text || len(notes) > 0) {
			t.Errorf("mended %q to %q, and that to %q", raw, text, again)
		}
		d := Parse(text)
		for _, k := range []Kind{Offer, Answer} {
			if fault := d.Check(k); fault == nil && (!d.Valid || len(d.Ufrags()) == 0) {
				t.Errorf("%q passes", text)
			}
		}
		_ = d.Answers(d)
		_ = MendCandidate(raw)
		_, _ = ParseCandidate(raw)
	})
}
