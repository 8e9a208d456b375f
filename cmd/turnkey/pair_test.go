package main

import (
	"strings"
	"testing"

	"turnkey/nattest/icecheck"
	"turnkey/nattest/match"
)

func TestPairSaysHowTheTwoConnected(t *testing.T) {
	direct := icecheck.Attempt{Connected: true, Local: "srflx", Remote: "prflx", Protocol: "udp"}
	relayed := icecheck.Attempt{Connected: true, Local: "host", Remote: "relay", Protocol: "udp"}
	none := icecheck.Attempt{Reason: "no check was answered"}
	for _, tt := range []struct {
		name, predicted string
		direct          icecheck.Attempt
		relay           *icecheck.Attempt
		exit            int
		agrees, says    string
	}{
		{"direct", "direct", direct, nil, exitOK, "yes", "as predicted"},
		{"relayed", "relay_needed", none, &relayed, exitFailure, "yes", "as predicted"},
		{"against the prediction", "direct", none, &relayed, exitFailure, "no", "NOT as predicted"},
		{"directly at last", "unlikely", none, &direct, exitOK, "yes", "directly this time"},
		{"nothing works", "relay_needed", none, &none, exitNoWay, "yes", "not connected: no check"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &pairReport{Prediction: &match.Prediction{Outcome: tt.predicted}, Direct: tt.direct, Relay: tt.relay}
			r.judge()
			var text strings.Builder
			r.WriteText(&text)
			if r.ExitCode() != tt.exit || r.Agrees != tt.agrees || !strings.Contains(text.String(), tt.says) {
				t.Errorf("got %d, %q and\n%s\nwant %d, %q and %q", r.ExitCode(), r.Agrees, &text, tt.exit, tt.agrees, tt.says)
			}
		})
	}
}
