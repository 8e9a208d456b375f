// Package doctor says of two peers how far they came towards a connection, and
// why they stopped there. One process sees signaling, STUN and TURN, so it knows
// what neither of the two can see.
//
// A [Book] keeps what was seen, bounded and for ten minutes after a peer has
// left. [Diagnose] is a function from that to findings: it says what was seen,
// and nothing that would have to be guessed.
//
// The package does no I/O and reads no clock.
package doctor

import (
	"net/netip"

	"turnkey/signal/sdp"
)

// What is what an event is about.
type What string

// What happens in a room. All but the first four are between Peer and To.
const (
	Joined   What = "joined"   // with Address and TURN
	Away     What = "away"     // the socket was lost
	Back     What = "back"     // with Address
	Left     What = "left"     //
	Offered  What = "offered"  // an offer was passed on, with its candidates
	Answered What = "answered" // an answer was passed on, with its candidates
	Passed   What = "passed"   // candidates were passed on
	Held     What = "held"     // candidates wait for their description
	Dropped  What = "dropped"  // candidates belong to a generation of ICE that is over
	Ended    What = "ended"    // the end of candidates was passed on
	Refused  What = "refused"  // a message was refused, with Fault
	Reported What = "reported" // with Report
	Parted   What = "parted"   // the connection is no longer wanted
)

// Event is something that happened in a room. It is made of values.
type Event struct {
	What       What
	Room       string
	Peer       string // who did it
	To         string // whom it was for
	Address    netip.Addr
	TURN       bool // the peer was given TURN servers
	Candidates []sdp.Candidate
	Missed     int  // of Offered and Answered: candidates that waited for another description
	End        bool // of Offered and Answered: the end of candidates was said
	Restart    bool // of Offered and Answered: another generation of ICE
	Fault      Fault
	Report     Report
}

// Fault is why a message was refused.
type Fault struct {
	Type    string `json:"type"` // of the message
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Report is what a peer says of its connection with another.
type Report struct {
	State string `json:"state"` // as RTCPeerConnection.connectionState
	// Of the selected pair, empty where it is not told: the types of the two
	// candidates (RFC 8445 section 5.1.1), and the protocol, to the relay if Local
	// is one.
	Local    string `json:"local,omitempty"`
	Remote   string `json:"remote,omitempty"`
	Protocol string `json:"protocol,omitempty"`
}
