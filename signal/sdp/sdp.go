// Package sdp reads of a session description (RFC 8866) and of an ICE candidate
// (RFC 8839) what tells whether WebRTC can work with them, mends what is safe to
// mend, and says in words what is wrong.
//
//	text, notes := sdp.Mend(raw)
//	d := sdp.Parse(text)
//	if fault := d.Check(sdp.Offer); fault != nil { … }
//
// It is no validator of everything else in a description: what it does not know
// it leaves alone. Every function accepts any bytes and takes time in proportion
// to them.
package sdp

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is what a description is for.
type Kind string

// The kinds of RFC 8829 that end in a connection.
const (
	Offer  Kind = "offer"
	Answer Kind = "answer"
)

// maxMedia bounds the media sections that are looked at.
const maxMedia = 128

// Fault is what is wrong, in words. Code is for programs.
type Fault struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// Description is what was found.
type Description struct {
	Valid      bool   // it begins as a description does
	Origin     string // the o= line: username, session id and version, address
	Trickle    bool   // a=ice-options has trickle: candidates may follow (RFC 8838)
	Lite       bool   // a=ice-lite
	Complete   bool   // a=end-of-candidates
	Media      []Media
	Candidates []Candidate
}

// Media is one media section. What is set for the session counts for each.
type Media struct {
	Kind        string // audio, video, application
	Mid         string
	Ufrag, Pwd  string
	Setup       string // actpass, active, passive, holdconn
	Fingerprint bool
	Rejected    bool // port 0 and not bundled
	BundleOnly  bool
}

// Parse reads a description.
func Parse(text string) Description {
	var d Description
	var session Media
	at := &session
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		kind, value, ok := strings.Cut(line, "=")
		if !ok || len(kind) != 1 {
			continue
		}
		switch kind {
		case "v":
			d.Valid = d.Valid || value == "0" && len(d.Media) == 0
		case "o":
			if d.Origin == "" {
				d.Origin = value
			}
		case "m":
			if len(d.Media) == maxMedia {
				return d
			}
			f := strings.Fields(value)
			m := session
			if len(f) > 0 {
				m.Kind = f[0]
			}
			m.Rejected = len(f) > 1 && f[1] == "0"
			d.Media = append(d.Media, m)
			at = &d.Media[len(d.Media)-1]
		case "a":
			d.attribute(at, value)
		}
	}
	for i := range d.Media {
		d.Media[i].Rejected = d.Media[i].Rejected && !d.Media[i].BundleOnly
	}
	return d
}

func (d *Description) attribute(m *Media, value string) {
	name, value, _ := strings.Cut(value, ":")
	switch name {
	case "mid":
		m.Mid = value
	case "ice-ufrag":
		m.Ufrag = value
	case "ice-pwd":
		m.Pwd = value
	case "setup":
		m.Setup = value
	case "fingerprint":
		m.Fingerprint = true
	case "bundle-only":
		m.BundleOnly = true
	case "ice-lite":
		d.Lite = true
	case "ice-options":
		d.Trickle = d.Trickle || slices.Contains(strings.Fields(value), "trickle")
	case "end-of-candidates":
		d.Complete = true
	case "candidate":
		if c, ok := ParseCandidate("candidate:" + value); ok && len(d.Candidates) < maxMedia {
			d.Candidates = append(d.Candidates, c)
		}
	}
}

// Outline returns what tells one description from another, without its
// candidates. It keeps none of the text alive.
func (d Description) Outline() *Description {
	o := Description{Valid: d.Valid, Origin: strings.Clone(d.Origin), Trickle: d.Trickle, Lite: d.Lite, Complete: d.Complete}
	for _, m := range d.Media {
		m.Kind, m.Mid, m.Setup = strings.Clone(m.Kind), strings.Clone(m.Mid), strings.Clone(m.Setup)
		m.Ufrag, m.Pwd = strings.Clone(m.Ufrag), ""
		o.Media = append(o.Media, m)
	}
	return &o
}

// Ufrags returns the username fragments, each once: the generation of ICE that
// candidates belong to.
func (d Description) Ufrags() (out []string) {
	for _, m := range d.Media {
		if m.Ufrag != "" && !slices.Contains(out, m.Ufrag) {
			out = append(out, m.Ufrag)
		}
	}
	return out
}

// Check returns the first fault that keeps a connection from being made.
func (d Description) Check(kind Kind) *Fault {
	if !d.Valid {
		return &Fault{"sdp_invalid", "this is no session description: its first line is not v=0", "send the text pc.localDescription.sdp as it is"}
	}
	live := slices.DeleteFunc(slices.Clone(d.Media), func(m Media) bool { return m.Rejected })
	if len(live) == 0 {
		return &Fault{"sdp_no_media", "the description has no media section to connect",
			"add a track, a transceiver or a data channel before createOffer; an answer has to accept one of the offer's"}
	}
	switch has := live[0]; {
	case has.Ufrag == "" || has.Pwd == "":
		return &Fault{"sdp_no_ice", "the description has no a=ice-ufrag and a=ice-pwd", "send it as the WebRTC stack made it; do not cut lines out of it"}
	case !has.Fingerprint:
		return &Fault{"sdp_no_fingerprint", "the description has no a=fingerprint, without which no DTLS handshake can succeed",
			"send it as the WebRTC stack made it; plain RTP (SIP without DTLS-SRTP) does not connect to WebRTC"}
	case has.Setup == "":
		return &Fault{"sdp_no_setup", "the description has no a=setup", "an offer wants a=setup:actpass, an answer a=setup:active or a=setup:passive"}
	case kind == Answer && has.Setup == "actpass":
		return &Fault{"sdp_setup", "an answer with a=setup:actpass leaves open who begins the DTLS handshake",
			"is this an offer that is sent as an answer? call setRemoteDescription with the offer first, then createAnswer"}
	}
	return nil
}

// Answers returns a fault if the answer's media sections cannot be those of the
// offer (RFC 8829 section 5.3.1: the same number in the same order).
func (d Description) Answers(offer Description) *Fault {
	if len(d.Media) != len(offer.Media) {
		return &Fault{"sdp_media_differ", fmt.Sprintf("the answer has %d media sections, the offer %d", len(d.Media), len(offer.Media)),
			"it answers another offer: create the answer after setRemoteDescription with the newest offer"}
	}
	for i, m := range d.Media {
		if o := offer.Media[i]; m.Kind != o.Kind || m.Mid != o.Mid && m.Mid != "" && o.Mid != "" {
			return &Fault{"sdp_media_differ", fmt.Sprintf("media section %d of the answer is %.16s %.32q, that of the offer %.16s %.32q", i, m.Kind, m.Mid, o.Kind, o.Mid),
				"media sections keep the order of the offer; it answers another offer, or was put together by hand"}
		}
	}
	return nil
}
