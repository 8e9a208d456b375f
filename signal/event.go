package signal

import "encoding/json"

// Event is a message from the server, as a [Client] hands it on. docs/protocol.md
// says which members each type has.
type Event struct {
	Type   string
	Peer   string // the other peer; in a welcome, oneself
	Name   string
	Reason string

	// Initiator says whether to make the first offer to Peer, Polite whether to
	// give way when two offers cross.
	Initiator bool
	Polite    bool

	SDP       string          // of offer and answer
	Offer     string          // of both, the offer's name; an answer is to repeat it
	Candidate json.RawMessage // RTCIceCandidateInit; null: no more will come
	Data      json.RawMessage // of message
	Meta      json.RawMessage

	Peers        []Present       // of welcome
	ICEServers   json.RawMessage // of welcome, resumed and ice: RTCIceServer[]
	ICEExpiresAt string

	Code    string // of error
	Message string
	Hint    string
	Fatal   bool
	Re      int64 // what Send returned for the request that this answers

	Raw json.RawMessage // the whole message

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

// parseEvent reads a message of a server. It accepts any bytes. A message of a peer
// has members of that peer's choice: their names count as they are written, and what
// is of the wrong kind is in Raw alone.
func parseEvent(b []byte) (Event, error) {
	f, err := parse(b)
	if err != nil {
		return Event{}, err
	}
	e := Event{Raw: b}
	for name, to := range map[string]any{
		"type": &e.Type, "peer": &e.Peer, "name": &e.Name, "reason": &e.Reason, "initiator": &e.Initiator, "polite": &e.Polite,
		"sdp": &e.SDP, "offer": &e.Offer, "candidate": &e.Candidate, "data": &e.Data, "meta": &e.Meta,
		"peers": &e.Peers, "iceServers": &e.ICEServers, "iceExpiresAt": &e.ICEExpiresAt,
		"code": &e.Code, "message": &e.Message, "hint": &e.Hint, "fatal": &e.Fatal, "re": &e.Re,
		"seq": &e.seq, "lastId": &e.lastID, "resume": &e.resume, "jitter": &e.goawayJitter,
	} {
		if raw, ok := f[name]; ok {
			_ = json.Unmarshal(raw, to) // the zero value, if it is of another kind
		}
	}
	if e.Type == "" {
		return Event{}, missing("type")
	}
	return e, nil
}
