// Package icecheck makes a real WebRTC connection between two machines, to see
// whether what was predicted of their NATs is true: a data channel over ICE
// (RFC 8445), with relays or without, and a message there and back.
//
// The two sides pass offer and answer by whatever channel the caller has. Each is
// complete with its candidates, so that each side sends one description only.
package icecheck

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

const (
	gatherTime = 4 * time.Second // for candidates: a server that is silent is left out
	failedTime = 8 * time.Second // without an answer to any check
)

// Attempt is how a connection went, as one side saw it.
type Attempt struct {
	Connected bool    `json:"connected"`
	Local     string  `json:"local,omitempty"`  // type of the own candidate: host, srflx, prflx or relay
	Remote    string  `json:"remote,omitempty"` // of the other's
	Protocol  string  `json:"protocol,omitempty"`
	SetupMS   float64 `json:"setup_ms,omitempty"` // from the answer to the open channel
	RTTMS     float64 `json:"rtt_ms,omitempty"`   // of one message, measured by who offers
	Reason    string  `json:"reason,omitempty"`   // why it is not connected
}

// Relayed says that a relay was on the way.
func (a Attempt) Relayed() bool { return a.Local == "relay" || a.Remote == "relay" }

// Side is one end of a connection that is to be made.
type Side struct {
	pc      *webrtc.PeerConnection
	offers  bool // it sends the message that has to come back
	opened  chan *webrtc.DataChannel
	heard   chan struct{}
	failed  chan struct{}
	started time.Time
}

// New makes an end. iceServers are those of /v1/ice as JSON; without relays only
// the STUN servers among them are used.
func New(iceServers json.RawMessage, relays bool) (*Side, error) {
	var servers []webrtc.ICEServer
	if err := json.Unmarshal(iceServers, &servers); err != nil {
		return nil, fmt.Errorf("icecheck: read the ICE servers: %w", err)
	}
	if !relays {
		servers = stunOnly(servers)
	}
	var settings webrtc.SettingEngine // by default pion asks TURN servers over UDP only
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6})
	settings.SetICETimeouts(failedTime, failedTime, time.Second)
	settings.SetSTUNGatherTimeout(gatherTime / 2)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{ICEServers: servers})
	if err != nil {
		return nil, fmt.Errorf("icecheck: %w", err)
	}
	s := &Side{pc: pc, opened: make(chan *webrtc.DataChannel, 1), heard: make(chan struct{}, 1), failed: make(chan struct{}, 1)}
	pc.OnICEConnectionStateChange(func(state webrtc.ICEConnectionState) {
		if state == webrtc.ICEConnectionStateFailed {
			notify(s.failed)
		}
	})
	pc.OnDataChannel(s.use)
	return s, nil
}

// stunOnly leaves out the URLs of relays.
func stunOnly(servers []webrtc.ICEServer) (out []webrtc.ICEServer) {
	for _, s := range servers {
		var urls []string
		for _, u := range s.URLs {
			if strings.HasPrefix(u, "stun") {
				urls = append(urls, u)
			}
		}
		if len(urls) > 0 {
			out = append(out, webrtc.ICEServer{URLs: urls})
		}
	}
	return out
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// use takes the channel. Who did not offer sends back what comes.
func (s *Side) use(d *webrtc.DataChannel) {
	d.OnOpen(func() {
		select {
		case s.opened <- d:
		default:
		}
	})
	d.OnMessage(func(m webrtc.DataChannelMessage) {
		if !s.offers && len(m.Data) <= 1024 {
			_ = d.Send(m.Data) // the other side says whether it came
		}
		notify(s.heard)
	})
}

// Offer returns the offer to send.
func (s *Side) Offer(ctx context.Context) (sdp string, err error) {
	d, err := s.pc.CreateDataChannel("turnkey", nil)
	if err != nil {
		return "", fmt.Errorf("icecheck: %w", err)
	}
	s.offers = true
	s.use(d)
	offer, err := s.pc.CreateOffer(nil)
	if err != nil {
		return "", fmt.Errorf("icecheck: %w", err)
	}
	return s.describe(ctx, offer)
}

// Answer takes the other side's offer and returns the answer to send.
func (s *Side) Answer(ctx context.Context, offer string) (sdp string, err error) {
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("icecheck: take the offer: %w", err)
	}
	answer, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("icecheck: %w", err)
	}
	defer func() { s.started = time.Now() }()
	return s.describe(ctx, answer)
}

// Take takes the other side's answer.
func (s *Side) Take(answer string) error {
	s.started = time.Now()
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return fmt.Errorf("icecheck: take the answer: %w", err)
	}
	return nil
}

// describe sets the description and waits for its candidates.
func (s *Side) describe(ctx context.Context, d webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(d); err != nil {
		return "", fmt.Errorf("icecheck: %w", err)
	}
	late := time.NewTimer(gatherTime)
	defer late.Stop()
	select {
	case <-gathered:
	case <-late.C:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return s.pc.LocalDescription().SDP, nil
}

// Wait returns how it went, when the channel is open and a message has come back,
// or when ICE has failed or ctx is done.
func (s *Side) Wait(ctx context.Context) Attempt {
	var channel *webrtc.DataChannel
	select {
	case channel = <-s.opened:
	case <-s.failed:
		return Attempt{Reason: "no pair of addresses works"}
	case <-ctx.Done():
		return Attempt{Reason: "no connection in time: ICE is " + s.pc.ICEConnectionState().String()}
	}
	a := Attempt{Connected: true, SetupMS: ms(time.Since(s.started))}
	if pair, err := s.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair(); err == nil && pair != nil {
		a.Local, a.Remote, a.Protocol = pair.Local.Typ.String(), pair.Remote.Typ.String(), pair.Local.Protocol.String()
	}
	sent := time.Now()
	if s.offers {
		if err := channel.SendText("there and back"); err != nil {
			return Attempt{Reason: "the channel opened, and a message could not be sent: " + err.Error()}
		}
	}
	select {
	case <-s.heard:
	case <-ctx.Done():
		return Attempt{Reason: "the channel opened, and no message came"}
	}
	if s.offers {
		a.RTTMS = ms(time.Since(sent))
	}
	return a
}

// Close ends the connection.
func (s *Side) Close() error { return s.pc.Close() }

// ms is a duration in milliseconds to a tenth.
func ms(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)/(100*time.Microsecond)) / 10
}
