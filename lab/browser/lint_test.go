//go:build linux

package browser

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// What is pasted into the page is explained, by keyboard alone.
func TestLintPage(t *testing.T) {
	t.Parallel()
	_, host := start(t)
	var got struct {
		Error string
		Said  []struct {
			Headline string
			Codes    []string
			Mended   string
		}
	}
	Run(t, host, "lint.mjs", map[string]any{
		"url":   url,
		"texts": []string{`{"type":"offer","sdp":"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"}`, "iceServers = [{ urls: 'stun:stun.example.com' }]"},
		"shot":  os.Getenv("SHOT"),
	}, &got)
	if got.Error != "" || len(got.Said) != 2 {
		t.Fatalf("got %+v", got)
	}
	if s := got.Said[0]; s.Headline != "An offer: 2 errors" || !slices.Contains(s.Codes, "sdp_double_encoded") || !slices.Contains(s.Codes, "sdp_no_ice") || !strings.HasPrefix(s.Mended, "v=0") {
		t.Errorf("got %+v, want an offer with two errors, and mended", s)
	}
	if s := got.Said[1]; s.Headline != "ICE servers: nothing that keeps it from working" || !slices.Equal(s.Codes, []string{"no_turn"}) || s.Mended != "" {
		t.Errorf("got %+v, want ICE servers without TURN", s)
	}
}
