package icecheck

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
)

const servers = `[{"urls":["stun:192.0.2.1:3478","turn:192.0.2.1:3478"]},{"urls":["turns:192.0.2.1:5349"],"username":"u","credential":"p"}]`

func TestWithoutRelaysOnlySTUNIsAsked(t *testing.T) {
	var list []webrtc.ICEServer
	if err := json.Unmarshal([]byte(servers), &list); err != nil {
		t.Fatal(err)
	}
	if got := stunOnly(list); len(got) != 1 || !slices.Equal(got[0].URLs, []string{"stun:192.0.2.1:3478"}) {
		t.Errorf("got %+v, want the STUN server alone", got)
	}
}

// What the other side sends may be anything: it is an error, and ends nothing.
func TestNonsenseIsRefused(t *testing.T) {
	if _, err := New(json.RawMessage(`{"urls":1}`), true); err == nil || !strings.Contains(err.Error(), "ICE servers") {
		t.Errorf("servers: got %v, want an error", err)
	}
	s, err := New(json.RawMessage(`[]`), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, sdp := range []string{"", "v=0", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", strings.Repeat("a", 1<<16)} {
		if _, err := s.Answer(t.Context(), sdp); err == nil {
			t.Errorf("%.20q: got an answer", sdp)
		}
		if err := s.Take(sdp); err == nil {
			t.Errorf("%.20q: got it taken for an answer", sdp)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := s.Wait(ctx); a.Connected || a.Relayed() || a.Reason == "" {
		t.Errorf("got %+v, want why there is no connection", a)
	}
}
