package signal

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// sdpOf is a description with one data channel. Its session and its username
// fragment are told apart by n.
func sdpOf(kind Type, n int) string {
	setup := "actpass"
	if kind == Answer {
		setup = "active"
	}
	return fmt.Sprintf("v=0\r\no=- %d 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"+
		"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:u%d\r\na=ice-pwd:0123456789012345678901\r\n"+
		"a=ice-options:trickle\r\na=fingerprint:sha-256 AA:BB\r\na=setup:%s\r\na=mid:0\r\na=sctp-port:5000\r\n", n, n, setup)
}

func describing(kind Type, peer string, n int) string {
	return fmt.Sprintf(`{"type":%q,"peer":%q,"sdp":%s}`, kind, peer, encode(sdpOf(kind, n)))
}

// trickling is the candidate at port of description n.
func trickling(peer string, n, port int) string {
	return fmt.Sprintf(`{"type":"candidate","peer":%q,"candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 %d typ host","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"u%d"}}`, peer, port, n)
}

func decoded(t testing.TB, text string) Message {
	t.Helper()
	m, err := Decode([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// brief is a frame, shortened where it is made by describing or trickling: of a
// candidate that names its section both ways only the port is left.
func brief(frame []byte) string {
	var f struct {
		Type, SDP string
		Candidate *struct {
			Candidate string
			Mid       string `json:"sdpMid"`
			Index     *int   `json:"sdpMLineIndex"`
		}
	}
	if err := json.Unmarshal(frame, &f); err != nil {
		return err.Error()
	}
	switch {
	case f.SDP != "":
		_, after, _ := strings.Cut(f.SDP, "o=- ")
		n, _, _ := strings.Cut(after, " ")
		return f.Type + " " + n
	case f.Candidate != nil && f.Candidate.Mid == "0" && f.Candidate.Index != nil && *f.Candidate.Index == 0:
		return f.Type + " " + strings.Fields(f.Candidate.Candidate)[5]
	}
	return string(frame)
}
