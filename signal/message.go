package signal

import (
	"encoding/json"
	"regexp"

	"turnkey/signal/doctor"
	"turnkey/signal/sdp"
)

// Limits of one message.
const (
	maxMessage = 64 << 10 // bytes of one message from a client
	maxName    = 64       // characters of a peer's name
	maxMeta    = 1024     // bytes of a peer's meta
	maxOffer   = 64       // characters of an offer's name
	maxID      = 1<<53 - 1
)

// Type is what a message is; the constants are all a client may send.
type Type string

// The closed set of messages from a client. Offer, Answer, Candidate, Note,
// Restart, Request and Bye with a peer are relayed.
const (
	Join      Type = "join"          // enter a room
	Offer     Type = "offer"         // a session description, RFC 8829
	Answer    Type = "answer"        // its answer
	Candidate Type = "candidate"     // an ICE candidate, or null for the end of them, RFC 8838
	Note      Type = "message"       // anything else, to one peer or to all
	ICE       Type = "ice"           // ask for fresh ICE servers
	Bye       Type = "bye"           // end the session with one peer, or leave
	Update    Type = "update"        // change one's name or meta
	Restart   Type = "restart"       // ask a peer to restart ICE, RFC 8838 section 15
	Request   Type = "offer-request" // ask a peer to make an offer
	Resume    Type = "resume"        // go on with the session of a lost socket
	Ack       Type = "ack"           // what was received up to here need not be kept
	State     Type = "state"         // how the connection with a peer stands; not relayed
)

// Everyone is the peer that stands for all others in the room, for [Note].
const Everyone = "*"

// Message is one message from a client.
type Message struct {
	Type Type
	ID   int64  // the request id that an answer repeats as re, 1 to 2^53-1; 0 = none
	Peer string // whom it is for; "" in Join, ICE and a Bye to the room

	// Of Join.
	Room  string
	Token string          // "" = see the upgrade request
	Name  string          // at most 64 characters
	Meta  json.RawMessage // a JSON object of at most 1024 bytes, or nil
	Keep  bool            // of Join: the peer may resume
	Wait  bool            // of Join: it may send to Next
	Nonce string          // of Join: by which the peer is known when it joins again; "" = none
	fixed bool            // of Join: its stack cannot take an offer back
	named bool            // Name was given

	// Of Resume and Ack.
	Resume string // the token from welcome
	Seq    int64  // the number of the newest message received, 0 = none

	desc      *sdp.Description // of Offer and Answer
	notes     []sdp.Fault      // what was mended in it
	candidate *iceCandidate    // of Candidate
	offer     string           // of Offer and Answer: the offer's name, "" = none
	report    doctor.Report    // of State

	// body holds what a relayed message carries, as JSON members that begin
	// with a comma, each value as it came. It is nil if there is nothing to
	// pass on.
	body []byte
}

var (
	roomName  = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,64}$`)
	nonceText = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)
)

// Decode reads one message. It accepts any bytes. The error says what is
// wrong with the message and how to mend it; the socket may stay open.
func Decode(b []byte) (Message, *Error) {
	m, err := decode(b)
	if err != nil {
		return Message{}, err.answering(m.ID)
	}
	return m, nil
}

// decode returns the message's id even with an error, if it could be read.
func decode(b []byte) (m Message, _ *Error) {
	if m, ok := quick(b); ok {
		return m, nil
	}
	return decodeAny(b)
}

func decodeAny(b []byte) (m Message, _ *Error) {
	if len(b) > maxMessage {
		return m, errTooLarge()
	}
	f, err := parse(b)
	if err != nil {
		return m, err
	}
	if m.ID, err = f.id(); err != nil {
		return m, err
	}
	kind, err := f.text("type", true)
	if err != nil {
		return m, err
	}
	switch m.Type = Type(kind); m.Type {
	case Join:
		return m, f.join(&m)
	case ICE:
		return m, nil
	case Update:
		return m, f.update(&m)
	case Resume:
		return m, f.resume(&m)
	case Ack:
		m.Seq, err = f.number("seq", true)
		return m, err
	case Bye:
		if f["peer"] == nil {
			return m, nil
		}
	case Offer, Answer, Candidate, Note, Restart, Request, State:
	default:
		return m, unknown(kind)
	}
	if m.Peer, err = f.text("peer", true); err != nil {
		return m, err
	}
	if m.Peer == Everyone && m.Type != Note {
		return m, fault("bad_field", "send one to each peer", "%s goes to one peer; only message goes to \"*\"", m.Type)
	}
	switch m.Type {
	case Offer, Answer:
		if m.offer, err = f.offer(); err == nil {
			m.desc, m.notes, err = f.description(m.Type)
		}
	case Candidate:
		m.candidate, err = f.candidate()
	case State:
		m.report, err = f.report()
	case Note:
		if f["data"] == nil {
			err = missing("data")
		}
	}
	if err != nil || m.Type == Candidate && f["candidate"] == nil {
		return m, err
	}
	m.body = f.body()
	return m, nil
}
