package signal

import (
	"encoding/json"
	"slices"

	"turnkey/signal/doctor"
)

// tell reports what has happened to who observes the room.
func (r *room) tell(e doctor.Event) {
	if r.seen != nil {
		e.Room = r.name
		r.seen(e)
	}
}

// report takes what a peer says of its connection with another. Who has left by
// now is not missed.
func (r *room) report(from string, m Message) {
	r.tell(doctor.Event{What: doctor.Reported, Peer: from, To: m.Peer, Report: m.report})
}

// refused reports that a message to a peer was not passed on.
func (c *conn) refused(m Message, err *Error) {
	s := c.session.Load()
	if s == nil || c.srv.cfg.Observe == nil || m.Type != Offer && m.Type != Answer && m.Type != Candidate {
		return
	}
	c.srv.cfg.Observe(doctor.Event{What: doctor.Refused, Room: s.hub.room.name, Peer: s.id, To: m.Peer,
		Fault: doctor.Fault{Type: string(m.Type), Code: err.Code, Message: err.Message}})
}

// What a report may say: RTCPeerConnectionState, RTCIceCandidateType, and a
// protocol or the one to a relay.
var (
	states    = []string{"new", "connecting", "connected", "disconnected", "failed", "closed"}
	types     = []string{"", "host", "srflx", "prflx", "relay"}
	protocols = []string{"", "udp", "tcp", "tls", "dtls"}
)

// report reads how a connection stands.
func (f fields) report() (doctor.Report, *Error) {
	state, err := f.text("state", true)
	if err != nil {
		return doctor.Report{}, err
	}
	var pair struct{ Local, Remote, Protocol string }
	if f.names("selected") && json.Unmarshal(f["selected"], &pair) != nil {
		return doctor.Report{}, fault("bad_field", "leave it out if it is not known", "selected is no object of strings")
	}
	if !slices.Contains(states, state) || !slices.Contains(types, pair.Local) || !slices.Contains(types, pair.Remote) || !slices.Contains(protocols, pair.Protocol) {
		return doctor.Report{}, fault("bad_field", "send pc.connectionState, and candidateType and protocol as getStats has them",
			"%.40q with %.40q is no state of a connection", state, pair)
	}
	return doctor.Report{State: state, Local: pair.Local, Remote: pair.Remote, Protocol: pair.Protocol}, nil
}
