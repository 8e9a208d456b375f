package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"turnkey/nattest"
	"turnkey/nattest/icecheck"
	"turnkey/nattest/match"
	"turnkey/signal"
)

const (
	attemptTime = 15 * time.Second // for one connection
	othersTime  = 30 * time.Second // for the other side to send what it has to
)

// meeting is what two sides do in their room.
type meeting struct {
	*probe
	room    *signal.Client
	own     *nattest.Report
	servers json.RawMessage
	peer    string // the other side
}

// word is what one side says to the other, in a message.
type word struct {
	Report json.RawMessage   `json:"report,omitempty"`
	Direct *icecheck.Attempt `json:"direct,omitempty"`
	Relay  *icecheck.Attempt `json:"relay,omitempty"`
	Done   bool              `json:"done,omitempty"`
}

// hold meets the other side, exchanges the reports and tries to connect. Who came
// second makes the offers, and says what came of them.
func (m *meeting) hold() (*pairReport, error) {
	welcome, err := m.await(m.ctx, "welcome")
	if err != nil {
		return nil, err
	}
	m.servers = welcome.ICEServers
	if len(welcome.Peers) > 1 {
		return nil, &nattest.Error{Usage: true, Reason: "two others are using this code", Hint: "take another code, the same on both machines"}
	}
	first := len(welcome.Peers) == 0
	if first {
		fmt.Fprintf(m.stderr, "Now run the same command on the other machine. Waiting for it.\n")
		joined, err := m.await(m.ctx, "peer-joined")
		if err != nil {
			return nil, err
		}
		m.peer = joined.Peer
	} else {
		m.peer = welcome.Peers[0].ID
	}
	other, err := m.exchange()
	if err != nil {
		return nil, err
	}
	r := &pairReport{Schema: 1, Prediction: match.Predict(m.own, other)}
	if first {
		err = m.answer(r)
	} else {
		err = m.offer(r)
	}
	r.judge()
	return r, err
}

// exchange sends the report and receives the other.
func (m *meeting) exchange() (*nattest.Report, error) {
	brief := *m.own // what a prediction takes, without the evidence
	brief.V4.Evidence, brief.V6.Evidence = nil, nil
	b, err := json.Marshal(brief)
	if err != nil {
		return nil, err
	}
	if err := m.say(word{Report: b}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(m.ctx, othersTime)
	defer cancel()
	w, err := m.hear(ctx)
	if err != nil {
		return nil, err
	}
	other, err := match.Read(strings.NewReader(string(w.Report)))
	if err != nil {
		return nil, fmt.Errorf("what the other side sent is %w", err)
	}
	return other, nil
}

// offer connects without relays, then with them if that did not work.
func (m *meeting) offer(r *pairReport) error {
	direct, err := m.try(false)
	if err != nil {
		return err
	}
	r.Direct = direct
	if !direct.Connected {
		relayed, err := m.try(true)
		if err != nil {
			return err
		}
		r.Relay = &relayed
	}
	return m.say(word{Direct: &r.Direct, Relay: r.Relay, Done: true})
}

func (m *meeting) try(relays bool) (a icecheck.Attempt, err error) {
	ctx, cancel := context.WithTimeout(m.ctx, attemptTime)
	defer cancel()
	side, err := icecheck.New(m.servers, relays)
	if err != nil {
		return a, err
	}
	defer side.Close()
	sdp, err := side.Offer(ctx)
	if err != nil {
		return a, err
	}
	if _, err := m.room.Send(signal.Offer, m.peer, map[string]any{"sdp": sdp, "relays": relays}); err != nil {
		return a, err
	}
	answer, err := m.await(ctx, "answer")
	if err != nil {
		return a, err
	}
	if err := side.Take(answer.SDP); err != nil {
		return a, err
	}
	return side.Wait(ctx), nil
}

// answer takes part in what the other side tries, until it says what came of it.
func (m *meeting) answer(r *pairReport) error {
	ctx, cancel := context.WithTimeout(m.ctx, 2*attemptTime+othersTime)
	defer cancel()
	var side *icecheck.Side
	defer func() {
		if side != nil {
			side.Close()
		}
	}()
	for {
		e, err := m.next(ctx)
		if err != nil {
			return err
		}
		switch e.Type {
		case "offer":
			if side != nil {
				side.Close()
			}
			if side, err = m.reply(ctx, e); err != nil {
				return err
			}
		case "message":
			var w word
			if json.Unmarshal(e.Data, &w) == nil && w.Done && w.Direct != nil {
				r.Direct, r.Relay = mirrored(*w.Direct), w.Relay
				if r.Relay != nil {
					*r.Relay = mirrored(*r.Relay)
				}
				return nil
			}
		}
	}
}

// reply answers an offer.
func (m *meeting) reply(ctx context.Context, e signal.Event) (*icecheck.Side, error) {
	var asked struct{ Relays bool }
	_ = json.Unmarshal(e.Raw, &asked) // it was read before, as a whole
	side, err := icecheck.New(m.servers, asked.Relays)
	if err != nil {
		return nil, err
	}
	sdp, err := side.Answer(ctx, e.SDP)
	if err == nil {
		_, err = m.room.Send(signal.Answer, m.peer, map[string]any{"sdp": sdp})
	}
	if err != nil {
		side.Close()
		return nil, err
	}
	return side, nil
}

// mirrored is an attempt that the other side tells of, as this side sees it.
func mirrored(a icecheck.Attempt) icecheck.Attempt {
	a.Local, a.Remote = nattest.Clean(a.Remote), nattest.Clean(a.Local)
	a.Protocol, a.Reason = nattest.Clean(a.Protocol), nattest.Clean(a.Reason)
	return a
}

func (m *meeting) say(w word) error {
	_, err := m.room.Send(signal.Note, m.peer, map[string]any{"data": w})
	return err
}

// hear returns the next word of the other side.
func (m *meeting) hear(ctx context.Context) (w word, err error) {
	e, err := m.await(ctx, "message")
	if err == nil {
		err = json.Unmarshal(e.Data, &w)
	}
	return w, err
}

// await returns the next event of a type, and passes over others.
func (m *meeting) await(ctx context.Context, kind string) (signal.Event, error) {
	for {
		e, err := m.next(ctx)
		if err != nil || e.Type == kind {
			return e, err
		}
	}
}

// next returns the next event. That the other side has gone, or that something
// could not be passed on, is an error.
func (m *meeting) next(ctx context.Context) (e signal.Event, err error) {
	for {
		var open bool
		select {
		case e, open = <-m.room.Events():
		case <-ctx.Done():
			return e, errors.New("the other side fell silent")
		}
		switch {
		case !open:
			return e, m.room.Err()
		case e.Type == "error":
			return e, &nattest.Error{Reason: nattest.Clean(e.Message), Hint: nattest.Clean(e.Hint)}
		case e.Type == "peer-left" && e.Peer == m.peer:
			return e, errors.New("the other side has left")
		case e.Type == "ice" || e.Type == "resumed":
			m.servers = e.ICEServers
		default:
			return e, nil
		}
	}
}
