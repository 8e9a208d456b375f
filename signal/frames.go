package signal

import (
	"encoding/json"
	"time"
)

// peerEntry is a peer in a list of peers.
type peerEntry struct {
	ID        string          `json:"id"`
	Name      string          `json:"name,omitempty"`
	Meta      json.RawMessage `json:"meta,omitempty"`
	Away      bool            `json:"away,omitempty"`
	Initiator bool            `json:"initiator"` // the reader makes the offer
	Polite    bool            `json:"polite"`    // the reader gives way when offers cross
}

// issued are ICE servers with the end of their credentials, as in /v1/ice.
type issued struct {
	Servers json.RawMessage `json:"iceServers"`
	Expires string          `json:"iceExpiresAt,omitempty"` // RFC 3339, UTC; "" = never
}

func newIssued(servers json.RawMessage, expires time.Time) issued {
	i := issued{Servers: servers}
	if !expires.IsZero() {
		i.Expires = expires.UTC().Format(time.RFC3339)
	}
	return i
}

type limits struct {
	Bytes int `json:"bytes"` // of one message
	Rate  int `json:"rate"`  // messages per second
	Burst int `json:"burst"` // messages at once
	Peers int `json:"peers"` // in the room
}

func welcomeFrame(re int64, self, room, resume string, peers []peerEntry, ice issued, roomMax int) []byte {
	window := 0
	if resume != "" {
		window = int(resumeWindow / time.Second)
	}
	return encode(struct {
		Type  string      `json:"type"`
		Re    int64       `json:"re,omitempty"`
		V     int         `json:"v"`
		Peer  string      `json:"peer"`
		Room  string      `json:"room"`
		Peers []peerEntry `json:"peers"`
		issued
		Resume       string `json:"resume,omitempty"`
		ResumeWindow int    `json:"resumeWindow,omitempty"` // seconds
		Limits       limits `json:"limits"`
	}{"welcome", re, 1, self, room, peers, ice, resume, window, limits{maxMessage, messageRate, messageBurst, roomMax}})
}

func iceFrame(re int64, ice issued) []byte {
	return encode(struct {
		Type Type  `json:"type"`
		Re   int64 `json:"re,omitempty"`
		issued
	}{ICE, re, ice})
}

// joinedFrame tells of a newcomer. Towards it the reader is the initiator, and
// polite, only if the newcomer has got an offer of the reader's already.
func joinedFrame(p peer, offered bool) []byte {
	return encode(struct {
		Type      string          `json:"type"`
		Peer      string          `json:"peer"`
		Name      string          `json:"name,omitempty"`
		Meta      json.RawMessage `json:"meta,omitempty"`
		Initiator bool            `json:"initiator"`
		Polite    bool            `json:"polite"`
	}{"peer-joined", p.id, p.name, p.meta, offered, offered})
}

func leftFrame(id string, why reason) []byte {
	return encode(struct {
		Type   string `json:"type"`
		Peer   string `json:"peer"`
		Reason reason `json:"reason"`
	}{"peer-left", id, why})
}

// resumedFrame tells what the server has of the client, and how many messages
// that the client has missed come next.
func resumedFrame(re, lastID int64, missed int, ice issued) []byte {
	return encode(struct {
		Type   string `json:"type"`
		Re     int64  `json:"re,omitempty"`
		LastID int64  `json:"lastId"`
		Missed int    `json:"missed"`
		issued
	}{"resumed", re, lastID, missed, ice})
}

// ackFrame tells up to which request the client's were handled.
func ackFrame(id int64) []byte {
	return encode(struct {
		Type Type  `json:"type"`
		ID   int64 `json:"lastId"`
	}{Ack, id})
}

func updateFrame(p peer) []byte {
	return encode(struct {
		Type string          `json:"type"`
		Peer string          `json:"peer"`
		Name string          `json:"name,omitempty"`
		Meta json.RawMessage `json:"meta,omitempty"`
	}{"peer-updated", p.id, p.name, p.meta})
}

func presenceFrame(id string, away bool) []byte {
	kind := "peer-back"
	if away {
		kind = "peer-away"
	}
	return encode(struct {
		Type string `json:"type"`
		Peer string `json:"peer"`
	}{kind, id})
}

func goawayFrame(jitter int) []byte {
	return encode(struct {
		Type   string `json:"type"`
		Jitter int    `json:"jitter"`
	}{"goaway", jitter})
}

// relayFrame is a client's message as its receiver sees it.
func relayFrame(t Type, from string, body []byte) []byte {
	b := make([]byte, 0, len(body)+len(t)+len(from)+24)
	b = append(b, `{"type":"`...)
	b = append(b, t...)
	b = append(b, `","peer":"`...)
	b = append(b, from...)
	b = append(b, '"')
	b = append(b, body...)
	return append(b, '}')
}

// encode is json.Marshal for values that always marshal: structs of this file
// whose raw members were checked when they came in.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("signal: a message that cannot be encoded: " + err.Error())
	}
	return b
}
