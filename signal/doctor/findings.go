package doctor

import (
	"fmt"
	"strings"
	"time"
)

const hintUDP = "let UDP to TURNKEY_PORT of this server out of that network"

func since(t, now time.Time) string { return now.Sub(t).Round(time.Second).String() }

// presence says whether a peer is gone.
func (p Pair) presence(i int, now time.Time) Finding {
	who := p.Peers[i]
	switch {
	case !who.Gone.IsZero():
		return Finding{Code: "peer_left", Peer: who.ID, Message: fmt.Sprintf("%s left the room %s ago", who.ID, since(who.Gone, now))}
	case who.Away:
		return Finding{Code: "peer_away", Peer: who.ID, Message: who.ID + " has lost its socket to this server; what is sent to it waits for its return",
			Hint: "is its network up, and its page open? After 60 seconds it leaves the room"}
	}
	return Finding{}
}

// described says what is wrong with offer and answer.
func (p Pair) described(now time.Time) (list []Finding) {
	for i, s := range p.Sides {
		if s.Fault.Code != "" {
			list = append(list, Finding{Code: "refused", Peer: p.Peers[i].ID,
				Message: fmt.Sprintf("the newest %s of %s was refused and not passed on: %s: %s", s.Fault.Type, p.Peers[i].ID, s.Fault.Code, s.Fault.Message),
				Hint:    "the error that its page got has a hint; docs/protocol.md lists the codes"})
		}
	}
	switch i := p.offerer(); {
	case i < 0 && p.Sides[0].Fault.Type != "offer" && p.Sides[1].Fault.Type != "offer":
		young := p.Peers[0]
		if young.Joined.Before(p.Peers[1].Joined) {
			young = p.Peers[1]
		}
		list = append(list, Finding{Code: "no_offer", Message: "neither " + p.Peers[0].ID + " nor " + p.Peers[1].ID + " has offered",
			Hint: "unless it was told otherwise, the one that came later has to offer: " + young.ID})
	case i >= 0 && !p.answered() && p.Sides[1-i].Fault.Type != "answer":
		from, to := p.Peers[i].ID, p.Peers[1-i].ID
		list = append(list, Finding{Code: "no_answer", Peer: to,
			Message: fmt.Sprintf("%s has not answered the offer that %s sent %s ago", to, from, since(p.Sides[i].Offered, now)),
			Hint:    "its page has to call setRemoteDescription with the offer, then createAnswer, setLocalDescription, and send the answer; its console tells which failed"})
	}
	return list
}

// candidates says what keeps those of one side from the other.
func (p Pair) candidates(i int) Finding {
	s, from, to := p.Sides[i], p.Peers[i].ID, p.Peers[1-i].ID
	c := s.Candidates
	f := Finding{Code: "candidates_missing", Peer: from}
	switch {
	case c.Passed() > 0 && c.Local == c.Passed() && (c.End || s.Report.State == "failed"):
		f.Code = "candidates_local_only"
		f.Message = "all candidates of " + from + " are loopback, link-local or .local: only its own network can reach them"
		f.Hint = "its RTCPeerConnection needs the iceServers of the welcome message"
	case c.Passed() > 0 || s.Fault.Type == "candidate":
		return Finding{}
	case c.Held > 0:
		f.Message = fmt.Sprintf("%d candidates of %s never reached %s: they wait for a description of %s with their username fragment", c.Held, from, to, from)
		f.Hint = "send the description before its candidates, or at least send it"
	case s.Offered.IsZero() && s.Answered.IsZero():
		return Finding{}
	case c.Dropped > 0:
		f.Message = fmt.Sprintf("none of the candidates of %s reached %s: %d belong to an older description", from, to, c.Dropped)
		f.Hint = "send the candidates of the newest description"
	case c.End:
		f.Message = "no candidate of " + from + " reached " + to + ": " + from + " sent the end of candidates and none before it"
		f.Hint = "send every candidate of the icecandidate event; with iceTransportPolicy relay there are none unless an Allocate succeeds"
	default:
		f.Message = "no candidate of " + from + " reached " + to + ": " + from + " has sent none"
		f.Hint = "send every candidate of the icecandidate event, or wait for the end of gathering before the description is sent"
	}
	return f
}

// done reports whether side i has nothing more to come.
func (p Pair) done(i int) bool {
	return p.Sides[i].Candidates.End || p.Sides[i].Report.State == "failed"
}

// turn says why a peer has no relay of this server.
func (p Pair) turn(i int) Finding {
	who := p.Peers[i]
	if len(who.Sessions) > 0 {
		return Finding{}
	}
	var last Refusal
	for _, r := range who.Refused {
		if r.Method == "Allocate" && !r.At.Before(last.At) {
			last = r
		}
	}
	for _, a := range who.Allocated {
		if a.At.After(last.At) {
			return Finding{}
		}
	}
	if last.Code != 0 {
		return Finding{Code: "turn_refused", Peer: who.ID,
			Message: fmt.Sprintf("this server refused an Allocate with the name of %s, over %s: %d, %s", who.ID, last.Transport, last.Code, last.Reason),
			Hint:    hintOf(last)}
	}
	if !who.TURN || !p.done(i) {
		return Finding{}
	}
	return Finding{Code: "turn_unused", Peer: who.ID, Message: "no Allocate with a credential of " + who.ID + " came to this server",
		Hint: "does its RTCPeerConnection have the iceServers of the welcome message? If so, its network lets neither UDP nor TCP to TURNKEY_PORT pass"}
}

// hintOf says what to do about a refused Allocate.
func hintOf(r Refusal) string {
	switch {
	case r.Code == 401 && strings.Contains(r.Reason, "expired"):
		return "take the iceServers of the newest welcome, resumed or ice message, and none that were written into the page; TURNKEY_CREDENTIAL_TTL is how long they live"
	case r.Code == 401 && strings.Contains(r.Reason, "realm"):
		return "TURNKEY_REALM was changed, or the credential is for another server"
	case r.Code == 401:
		return "the credential was made with a secret that this server does not have, or was changed on its way: who makes credentials needs the server's TURNKEY_SECRET"
	case r.Code == 486 && strings.Contains(r.Reason, "turn.allocations"):
		return "its token has a quota: close RTCPeerConnections that are no longer used, or make a token with more turn.allocations; " +
			"a browser makes one for each TURN URL of each connection"
	case r.Code == 486 || r.Code == 508:
		return "close RTCPeerConnections that are no longer used; the limits are TURNKEY_MAX_ALLOCATIONS, TURNKEY_MAX_ALLOCATIONS_PER_USER and TURNKEY_MAX_ALLOCATIONS_PER_IP"
	case r.Code == 440:
		return "the server needs an IPv6 address of its own for IPv6 relays"
	}
	return ""
}

// udp says that nothing came from a peer over UDP.
func (p Pair) udp(i int) Finding {
	who, c := p.Peers[i], p.Sides[i].Candidates
	if who.overUDP() || c.Srflx > 0 || !p.done(i) || p.Sides[i].Offered.IsZero() && p.Sides[i].Answered.IsZero() {
		return Finding{}
	}
	if len(who.Allocated) == 0 && c.Relay > 0 {
		return Finding{} // of another server, which this one knows nothing of
	}
	f := Finding{Code: "no_binding_seen", Peer: who.ID, Message: "no STUN Binding was seen from the address of " + who.ID,
		Hint: "its network blocks UDP to this server, or its RTCPeerConnection does not have the iceServers of the welcome message"}
	if len(who.Allocated) > 0 {
		f.Message += ", only an Allocate over " + who.Allocated[len(who.Allocated)-1].Transport
		f.Hint = hintUDP
	}
	return f
}

// denied says which candidates of the other peer the relay of a peer may not reach.
func (p Pair) denied(i int) (list []Finding) {
	told := map[string]bool{}
	for _, r := range p.Peers[i].Refused {
		if r.Rule == "" || told[r.Rule] || !p.Sides[1-i].Candidates.has(r.Denied) {
			continue
		}
		told[r.Rule] = true
		f := Finding{Code: "peer_denied", Peer: p.Peers[i].ID,
			Message: "the relay of " + p.Peers[i].ID + " may not reach a candidate of " + p.Peers[1-i].ID + ": " + r.Rule}
		switch {
		case strings.Contains(r.Rule, "DENY_PEERS"):
			f.Hint = "TURNKEY_DENY_PEERS of this server has it"
		case strings.Contains(r.Rule, "RELAY_PORTS"):
			f.Hint = "on this server's own addresses, relays reach ports in TURNKEY_RELAY_PORTS only"
		default:
			f.Hint = "TURNKEY_ALLOW_PEERS of this server could permit it; it is no fault where " + p.Peers[1-i].ID + " has candidates that are public, or a relay"
		}
		list = append(list, f)
	}
	return list
}

// failed says that ICE has found no way.
func (p Pair) failed() Finding {
	for i, s := range p.Sides {
		if s.Report.State != "failed" || !p.answered() {
			continue
		}
		f := Finding{Code: "checks_failed", Peer: p.Peers[i].ID, Message: p.Peers[i].ID + " says that no pair of candidates works with " + p.Peers[1-i].ID}
		switch a, b := p.Sides[0].Candidates, p.Sides[1].Candidates; {
		case a.Relay+b.Relay == 0:
			f.Message += "; neither side has a relay candidate"
			f.Hint = "with a relay on one side they would most likely connect: see what kept them from one"
		case a.Relay > 0 && b.Relay > 0:
			f.Message += ", though both have relay candidates"
			f.Hint = "is TURNKEY_RELAY_PORTS open for UDP in the server's firewall? GET /readyz tells what the server's own test of it found"
		default:
			f.Message += ", though one side has a relay candidate"
			f.Hint = "is TURNKEY_RELAY_PORTS open for UDP in the server's firewall, and do the networks of both let UDP out?"
		}
		return f
	}
	return Finding{}
}

// nothing says what is known of a pair without findings.
func (p Pair) nothing() Finding {
	f := Finding{Code: "nothing_wrong", Message: "nothing wrong was seen between " + p.Peers[0].ID + " and " + p.Peers[1].ID}
	switch {
	case p.stage() == StageChecking:
		f.Message += " so far, and they are still trying"
	case p.Sides[0].Report.State == "" && p.Sides[1].Report.State == "":
		f.Message += "; whether they are connected is not known, for neither has said so"
		f.Hint = "a client may tell with a state message: see docs/protocol.md"
	}
	return f
}
