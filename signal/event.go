package signal

import "encoding/json"

// Event is a message from the server, as a [Client] hands it on. docs/protocol.md
// says which members each type has.
type Event struct {
	Type   string `json:"type"`
	Peer   string `json:"peer,omitempty"` // the other peer; in a welcome, oneself
	Name   string `json:"name,omitempty"`
	Reason string `json:"reason,omitempty"`

	// Initiator says whether to make the first offer to Peer, Polite whether to
	// give way when two offers cross.
	Initiator bool `json:"initiator,omitempty"`
	Polite    bool `json:"polite,omitempty"`

	SDP       string          `json:"sdp,omitempty"`       // of offer and answer
	Candidate json.RawMessage `json:"candidate,omitempty"` // RTCIceCandidateInit; null: no more will come
	Data      json.RawMessage `json:"data,omitempty"`      // of message
	Meta      json.RawMessage `json:"meta,omitempty"`

	Peers        []Present       `json:"peers,omitempty"`      // of welcome
	ICEServers   json.RawMessage `json:"iceServers,omitempty"` // of welcome, resumed and ice: RTCIceServer[]
	ICEExpiresAt string          `json:"iceExpiresAt,omitempty"`

	Code    string `json:"code,omitempty"` // of error
	Message string `json:"message,omitempty"`
	Hint    string `json:"hint,omitempty"`
	Fatal   bool   `json:"fatal,omitempty"`
	Re      int64  `json:"re,omitempty"` // what Send returned for the request that this answers

	Raw json.RawMessage `json:"-"` // the whole message

	seq          int64
	lastID       int64
	resume       string
	goawayJitter int
}

// Present is a peer that was in the room before.
type Present struct {
	ID        string          `json:"id"`
	Name      string          `json:"name,omitempty"`
	Meta      json.RawMessage `json:"meta,omitempty"`
	Away      bool            `json:"away,omitempty"`
	Initiator bool            `json:"initiator"`
	Polite    bool            `json:"polite"`
}

// parseEvent reads a message of a server. It accepts any bytes.
func parseEvent(b []byte) (Event, error) {
	var own struct {
		Seq    int64  `json:"seq"`
		LastID int64  `json:"lastId"`
		Resume string `json:"resume"`
		Jitter int    `json:"jitter"`
	}
	var e Event
	if err := json.Unmarshal(b, &e); err != nil {
		return Event{}, err
	}
	if err := json.Unmarshal(b, &own); err != nil {
		return Event{}, err
	}
	e.Raw = b
	e.seq, e.lastID, e.resume, e.goawayJitter = own.Seq, own.LastID, own.Resume, own.Jitter
	return e, nil
}
