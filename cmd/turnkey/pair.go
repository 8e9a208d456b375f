package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"turnkey/nattest"
	"turnkey/nattest/icecheck"
	"turnkey/nattest/match"
	"turnkey/signal"
)

const exitNoWay = 3 // neither directly nor through a relay

var pairCode = regexp.MustCompile(`^[A-Za-z0-9]{4,32}$`)

// pairReport is what nattest -pair has to say.
type pairReport struct {
	Schema     int               `json:"schema"` // 1; members may be added to it
	Prediction *match.Prediction `json:"prediction"`
	Direct     icecheck.Attempt  `json:"direct"`          // without relays
	Relay      *icecheck.Attempt `json:"relay,omitempty"` // with them, if it took that
	Agrees     string            `json:"agrees"`          // yes, no, or unknown where nothing was predicted
}

// ExitCode is 0 if the two are connected directly, 1 if through a relay, 3 if not
// at all.
func (r *pairReport) ExitCode() int {
	switch {
	case r.Direct.Connected, r.directAtLast():
		return exitOK
	case r.Relay != nil && r.Relay.Connected:
		return exitFailure
	}
	return exitNoWay
}

// directAtLast says that relays could be had, and none was needed, though without
// them the two did not connect.
func (r *pairReport) directAtLast() bool {
	return r.Relay != nil && r.Relay.Connected && !r.Relay.Relayed()
}

// judge sets what was predicted beside what was seen.
func (r *pairReport) judge() {
	switch predicted := r.Prediction.ExitCode(); {
	case predicted == exitUnknown:
		r.Agrees = nattest.Unknown
	case (predicted == exitOK) == r.Direct.Connected:
		r.Agrees = "yes"
	default:
		r.Agrees = "no"
	}
}

// WriteText writes the prediction, and what is true.
func (r *pairReport) WriteText(w io.Writer) {
	r.Prediction.WriteText(w)
	fmt.Fprintf(w, "\n  tried     without a relay: %s\n", describeAttempt(r.Direct))
	if r.Relay != nil {
		fmt.Fprintf(w, "            with relays: %s\n", describeAttempt(*r.Relay))
	}
	switch {
	case r.directAtLast():
		fmt.Fprintln(w, "  so        directly this time, and not the time before: whether these two reach\n            each other is chance, so a relay is needed")
	case r.Agrees == "yes":
		fmt.Fprintln(w, "  so        as predicted")
	case r.Agrees == "no":
		fmt.Fprintln(w, "  so        NOT as predicted: NATs change under load, and a firewall on the way\n            may treat this connection differently; run it again")
	}
}

func describeAttempt(a icecheck.Attempt) string {
	if !a.Connected {
		return "not connected: " + a.Reason
	}
	s := fmt.Sprintf("connected in %.0f ms, %s to %s, %s", a.SetupMS, a.Local, a.Remote, a.Protocol)
	if a.RTTMS > 0 {
		s += fmt.Sprintf(", %.1f ms round trip", a.RTTMS)
	}
	return s
}

// pair tests the NAT here and that of whoever gives the same code, predicts
// whether the two reach each other, and sees whether it is true.
func (p *probe) pair(code string) error {
	if !pairCode.MatchString(code) {
		return usageError{fmt.Errorf("-pair %q: take 4 to 32 letters and digits, the same on both machines", code)}
	}
	own, err := p.run()
	if err != nil {
		return p.noReport(err)
	}
	if own.Server.HTTP == "" {
		return p.noReport(&nattest.Error{Reason: "the server's HTTP API does not answer, by which the two sides find each other", Hint: "open its HTTP port, or compare two reports with `turnkey nattest match`"})
	}
	room, err := signal.Enter(p.ctx, "ws"+strings.TrimPrefix(own.Server.HTTP, "http")+"/v1/ws", "nattest-pair-"+code, signal.ClientOptions{Token: p.cfg.Key})
	if err != nil {
		return p.noReport(refusedRoom(err))
	}
	defer room.Close()
	m := &meeting{probe: p, room: room, own: own}
	r, err := m.hold()
	var e *nattest.Error
	switch {
	case p.ctx.Err() != nil:
		return exitCode(exitUnknown)
	case errors.As(err, &e):
		return p.noReport(e)
	case err != nil:
		return p.noReport(&nattest.Error{Reason: "the two sides did not come to an end: " + err.Error(), Hint: "run it again on both"})
	}
	return p.print(r, r.WriteText)
}

func refusedRoom(err error) *nattest.Error {
	e := &nattest.Error{Reason: err.Error(), Hint: "the two sides meet over the server's WebSocket: `turnkey check` tells what is wrong with it", Err: err}
	var refusal *signal.Error
	if errors.As(err, &refusal) {
		e.Reason, e.Hint = nattest.Clean(refusal.Message), nattest.Clean(refusal.Hint)
	}
	return e
}
