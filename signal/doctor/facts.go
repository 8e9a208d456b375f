package doctor

import (
	"net/netip"
	"slices"
	"time"
)

// Bounds of what is kept of one peer and of one side of a pair.
const (
	mostAllocations = 4
	mostRefusals    = 8
	mostAddresses   = 24
	maxText         = 300 // bytes of a reason
)

// Peer is what was seen of a peer.
type Peer struct {
	ID        string
	Address   netip.Addr // its socket comes from there
	Joined    time.Time
	Gone      time.Time // it left; zero: it is in the room
	Away      bool      // its socket was lost, and it may come back
	TURN      bool      // it was given TURN servers
	Allocated []Allocation
	Refused   []Refusal

	// What others know; a Book does not.
	Bound    time.Time // the newest STUN Binding over UDP from Address; zero: none was seen
	Sessions []Session // that are live
}

// Allocation is one that was made with a credential of the peer.
type Allocation struct {
	At            time.Time
	Transport     string // udp, tcp, tls or dtls
	Client, Relay netip.AddrPort
}

// Refusal is a refused request with a credential of the peer.
type Refusal struct {
	At        time.Time
	Transport string
	Method    string // as in "Allocate"
	Code      int    // RFC 8656 section 19
	Reason    string
	Rule      string     // the one that denies Denied, if that is the reason
	Denied    netip.Addr // the address that was to be reached
}

// Session is a live allocation.
type Session struct {
	Transport string
	Relay     netip.AddrPort
	// Bytes of payload from and to peers.
	BytesIn, BytesOut uint64
}

// Side is what one peer of a pair has told the other.
type Side struct {
	Offered, Answered time.Time // the newest; zero: none
	Restarts          int
	Candidates        Candidates
	Fault             Fault // of the newest refused message, until one of its type is passed on
	Report            Report
	Reported          time.Time
}

// Candidates are those of the newest generation of ICE.
type Candidates struct {
	Host, Srflx, Prflx, Relay int // passed on
	Local                     int // of these, of no use outside the peer's own network
	Held, Dropped             int // not passed on: they wait, or came too late
	End                       bool
	Addresses                 []netip.Addr // of those that were passed on, each once
}

// Passed is how many were passed on.
func (c Candidates) Passed() int { return c.Host + c.Srflx + c.Prflx + c.Relay }

// Pair is what was seen of two peers; Sides[0] is what Peers[0] told Peers[1].
type Pair struct {
	Peers [2]Peer
	Sides [2]Side
}

func (c Candidates) has(a netip.Addr) bool { return slices.Contains(c.Addresses, a) }
