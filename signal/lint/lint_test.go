package lint

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.Unix(1_790_000_000, 0)

const offer = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n" +
	"a=ice-ufrag:x7Gh\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA:BB\r\na=setup:actpass\r\na=mid:0\r\na=ice-options:trickle\r\n"

const line = "candidate:1 1 udp 41885439 203.0.113.5 49200 typ relay raddr 0.0.0.0 rport 0"

func TestCheck(t *testing.T) {
	object, _ := json.Marshal(map[string]string{"type": "offer", "sdp": offer})
	good := `{"urls":["turn:turn.example.com:3478?transport=udp"],"username":"1790003600:anna","credential":"c2VjcmV0"}`
	for _, tt := range []struct {
		name, text, kind string
		ok               bool
		codes            string // with the first letter of their severity
	}{
		{"an offer", offer, Offer, true, "i trickle"},
		{"an offer, trimmed", strings.TrimSpace(offer), Offer, true, "i trickle"},
		{"an answer", strings.Replace(offer, "actpass", "active", 1), Answer, true, "i trickle"},
		{"an offer as JSON", string(object), Offer, false, "e sdp_double_encoded, i trickle"},
		{"an offer with LF", strings.ReplaceAll(offer, "\r\n", "\n"), Offer, true, "i line_ends, i trickle"},
		{"no fingerprint", strings.Replace(offer, "a=fingerprint:sha-256 AA:BB\r\n", "", 1), Offer, false, "e sdp_no_fingerprint, i trickle"},
		{"no candidate, no trickle", strings.Replace(offer, "a=ice-options:trickle\r\n", "", 1), Offer, true, "w no_candidates"},
		{"local candidates", offer + "a=candidate:1 1 udp 1 a.local 1 typ host\r\n", Offer, true, "w candidates_local_only"},
		{"no relay", offer + "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n", Offer, true, "i no_relay_candidate"},
		{"a relay", offer + "a=" + line + "\r\n", Offer, true, ""},
		{"a candidate", line, Candidate, true, "i candidate_type"},
		{"a candidate with a=", "a=" + line, Candidate, true, "i candidate_type"},
		{"a candidate of an event", `{"candidate":"` + line + `","sdpMid":"0"}`, Candidate, true, "i candidate_type"},
		{"a message", `{"candidate":{"candidate":"` + line + `","sdpMLineIndex":0}}`, Candidate, true, "i candidate_type"},
		{"a candidate without a section", `{"candidate":"` + line + `"}`, Candidate, false, "e candidate_no_section, i candidate_type"},
		{"a candidate for mDNS", "candidate:1 1 udp 1 a1.local 1 typ host", Candidate, true, "w candidate_mdns, i candidate_type"},
		{"a candidate of loopback", "candidate:1 1 udp 1 127.0.0.1 1 typ host", Candidate, true, "w candidate_local, i candidate_type"},
		{"half a candidate", "candidate:1 1 udp 1", Candidate, false, "e candidate_invalid"},
		{"servers", "[" + good + "]", ICEServers, true, "i expires"},
		{"a configuration", `{"iceServers":[` + good + `]}`, ICEServers, true, "i expires"},
		{"one server", good, ICEServers, true, "i expires"},
		{"as a page has it", "const iceServers = [{ urls: 'turn:turn.example.com', username: '1790003600:a', credential: 'x', }]; // ours", ICEServers, true, "i expires"},
		{"credentials", strings.Replace(good, `"credential"`, `"credentials"`, 1), ICEServers, false, "e wrong_name, e no_credential, i expires"},
		{"user", strings.Replace(good, `"username"`, `"user"`, 1), ICEServers, false, "e wrong_name, e no_username"},
		{"expired", strings.Replace(good, "1790003600", "1789999999", 1), ICEServers, false, "e expired"},
		{"about to expire", strings.Replace(good, "1790003600", "1790000300", 1), ICEServers, true, "w expires_soon"},
		{"milliseconds", strings.Replace(good, "1790003600", "1790003600000", 1), ICEServers, false, "e expiry_milliseconds"},
		{"no URLs", `[{"username":"a"}]`, ICEServers, false, "e no_urls, w no_turn"},
		{"the old name", `[{"url":"stun:stun.example.com"}]`, ICEServers, true, "w url_old, w no_turn"},
		{"slashes", `[{"urls":"stun://stun.example.com"}]`, ICEServers, false, "e url_slashes, w no_turn"},
		{"no scheme", `[{"urls":"stun.example.com:3478"}]`, ICEServers, false, "e url_scheme, w no_turn"},
		{"http", `[{"urls":"http:stun.example.com"}]`, ICEServers, false, "e url_scheme, w no_turn"},
		{"a STUN URL with a transport", `[{"urls":"stun:stun.example.com?transport=udp"}]`, ICEServers, false, "e url_query, w no_turn"},
		{"a transport that is none", strings.Replace(good, "=udp", "=tls", 1), ICEServers, false, "e url_query, i expires"},
		{"a port that is none", strings.Replace(good, "3478", "99999", 1), ICEServers, false, "e url_port, i expires"},
		{"no host", `[{"urls":"stun:"}]`, ICEServers, false, "e url_host, w no_turn"},
		{"IPv6 without brackets", `[{"urls":"stun:2001:db8::1"}]`, ICEServers, false, "e url_host, w no_turn"},
		{"IPv6 in brackets", `[{"urls":"stun:[2001:db8::1]:3478"}]`, ICEServers, true, "w no_turn"},
		{"TLS to an address", strings.Replace(good, "turn:turn.example.com", "turns:203.0.113.5", 1), ICEServers, true, "w url_address, i expires"},
		{"localhost", strings.Replace(good, "turn.example.com", "localhost", 1), ICEServers, true, "w url_private, i expires"},
		{"many", "[" + strings.Repeat(`{"urls":"stun:stun.example.com"},`, 5) + good + "]", ICEServers, true, "i expires, w many_servers"},
		{"none", "[]", ICEServers, true, "w no_turn"},
		{"nothing", " \n", Unknown, false, "e empty"},
		{"prose", "my call does not connect", Unknown, false, "e unknown"},
		{"too much", strings.Repeat("x", maxText+1), Unknown, false, "e too_large"},
	} {
		r := Check(tt.text, now)
		var codes []string
		for _, f := range r.Findings {
			codes = append(codes, f.Severity[:1]+" "+f.Code)
			if f.Message == "" || f.Severity == Error && f.Hint == "" {
				t.Errorf("%s: %s has no message or no hint", tt.name, f.Code)
			}
		}
		if got := strings.Join(codes, ", "); r.Kind != tt.kind || r.OK != tt.ok || got != tt.codes {
			t.Errorf("%s: got %s, ok %v, %s; want %s, %v, %s", tt.name, r.Kind, r.OK, got, tt.kind, tt.ok, tt.codes)
		}
	}
}

func TestHandler(t *testing.T) {
	for body, want := range map[string]string{offer: Offer, strings.Repeat("x", 2*maxText): Unknown} {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/lint", strings.NewReader(body)))
		var r Report
		if err := json.NewDecoder(w.Body).Decode(&r); err != nil || r.Kind != want || r.Findings == nil {
			t.Errorf("got %+v, %v, want %s", r, err, want)
		}
	}
}

// Whatever is pasted: an answer, and what was mended needs no mending.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{offer, line, `[{"urls":"turn:a","username":"1:b","credential":"c"}]`, "iceServers: [{urls: 'stun:a'}]", `{"candidate":{"candidate":"x"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := Check(string(b), now)
		if !slices.Contains([]string{Offer, Answer, Candidate, ICEServers, Unknown}, r.Kind) || r.Findings == nil {
			t.Errorf("got %+v", r)
		}
		if r.Mended != "" {
			if again := Check(r.Mended, now); again.Mended != "" && !bytes.Equal([]byte(again.Mended), []byte(r.Mended)) {
				t.Errorf("mended to %q and then to %q", r.Mended, again.Mended)
			}
		}
	})
}
