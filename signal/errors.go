package signal

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/coder/websocket"

	"turnkey/signal/sdp"
)

// Error is what a client is told: over the WebSocket as an error message, and
// as {"error":{…}} in place of an upgrade. It is an error value as well.
type Error struct {
	Code    string // for programs: lower case with underscores, never changes meaning
	Message string // what happened
	Hint    string // what to do about it

	// Temporary says of a refusal that trying again helps: the socket is closed
	// with 1011 in place of 4003. It is not sent.
	Temporary bool

	re     int64                // the request it answers, 0 = none
	lastID int64                // of errResume
	status websocket.StatusCode // closes the socket with it, 0 = the socket stays open
}

// Error returns the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Close codes of the protocol, in the range RFC 6455 section 7.4.2 leaves to
// applications.
const (
	closeBye      websocket.StatusCode = 4000 // the client said bye
	closeReplaced websocket.StatusCode = 4001 // a newer socket has the session
	closeDenied   websocket.StatusCode = 4003 // origin or token refused, or put out
	closeTimeout  websocket.StatusCode = 4004 // no join in time, or no answer to pings
	closeSlow     websocket.StatusCode = 4008 // did not read fast enough
	closeRate     websocket.StatusCode = 4009 // sent too much too fast
	closeFull     websocket.StatusCode = 4010 // the room, or the server, is full
	closeDrain    websocket.StatusCode = 4012 // the server shuts down
	closeTooLarge websocket.StatusCode = 4013 // a message over the limit
)

// closing returns the error as one that ends the socket.
func (e *Error) closing(status websocket.StatusCode) *Error {
	c := *e
	c.status = status
	return &c
}

// answering returns the error as the answer to request id.
func (e *Error) answering(id int64) *Error {
	c := *e
	c.re = id
	return &c
}

// frame is the error as a message to the client.
func (e *Error) frame() []byte { return e.message("error") }

// warning is the error as a message to a client whose message was passed on all
// the same.
func (e *Error) warning() []byte { return e.message("warning") }

func (e *Error) message(kind string) []byte {
	return encode(struct {
		Type    string `json:"type"`
		Re      int64  `json:"re,omitempty"`
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
		LastID  int64  `json:"lastId,omitempty"`
		Fatal   bool   `json:"fatal,omitempty"`
	}{kind, e.re, e.Code, e.Message, e.Hint, e.lastID, e.status != 0})
}

// write answers an HTTP request that gets no WebSocket.
func (e *Error) write(w http.ResponseWriter, status int) {
	type body struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that has gone needs no answer.
	_ = json.NewEncoder(w).Encode(map[string]body{"error": {e.Code, e.Message, e.Hint}})
}

func fault(code, hint, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func errNobody() *Error {
	return fault("auth_required", "the operator decides who may join: set TURNKEY_AUTH", "this server admits nobody")
}

func errUpgrade() *Error {
	return fault("upgrade_required", "open it with new WebSocket(\"wss://HOST/v1/ws\") or another WebSocket client; a proxy in between must pass the Upgrade and Connection headers on over HTTP/1.1",
		"this address speaks WebSocket only")
}

func errOrigin(origin string) *Error {
	return fault("origin_denied", "the operator allows pages of other origins with TURNKEY_ORIGINS", "pages of origin %.100q may not connect", origin)
}

func errRoomDenied(room string) *Error {
	return fault("room_denied", "ask for a token for this room, or join the room the token names", "the token is not good for room %q", room)
}

// errKicked is for who was put out; why may be empty.
func errKicked(why string) *Error {
	message := "you were put out of the room"
	if why != "" {
		message += ": " + why
	}
	return &Error{Code: "kicked", Message: message, Hint: "the operator, or who holds a token with the right kick, has done so: ask there"}
}

func errManySockets(limit int) *Error {
	return fault("too_many_sockets", "close sockets that are no longer used, or raise TURNKEY_PEERS_PER_IP",
		"your address holds %d signaling sockets, the most it may", limit)
}

func errServerFull() *Error {
	return fault("server_full", "try again later, or raise TURNKEY_ROOMS_MAX", "the server holds as many rooms as it may")
}

func errRoomFull(room string, limit int) *Error {
	return fault("room_full", "wait until somebody leaves, take another room, or raise TURNKEY_ROOM_MAX",
		"room %q has its %d peers", room, limit)
}

func errDraining() *Error {
	return fault("draining", "connect again in a few seconds", "the server is shutting down")
}

func errNoICE() *Error {
	return fault("internal", "the server's log says why; try again", "no ICE servers could be issued")
}

// errResume says up to which request the session was handled that is over, 0 = that
// is not known any more.
func errResume(last int64) *Error {
	e := fault("resume_expired", "join the room anew, on this socket if you like, and connect to everybody in it again",
		"there is no session to go on with: it ended more than %v ago, or the server was restarted, or the messages since are too many", resumeWindow)
	e.lastID = last
	return e
}

func errIDUsed(id, last int64) *Error {
	return fault("id_used", "number your requests upwards: 1, 2, 3; repeat one only after a resume", "the request has id %d, and one with id %d came before", id, last)
}

func errAck(seq int64) *Error {
	return fault("bad_field", "repeat the seq of the newest message that you received", "no message with seq %d was sent on this session", seq)
}

func errNotKept() *Error {
	return fault("not_resumable", `to resume, send "resume":true in join`, "this session numbers nothing")
}

// errNotDelivered answers a request whose message was held for a peer that did
// not come back.
func errNotDelivered(peer string) *Error {
	return fault("not_delivered", "it did not come back in time; connect anew when it joins again", "the message for %q was not delivered", peer)
}

// errPerhapsNot is what a client says to itself of a message whose session ended
// before the server had said that it was handled, or for which nobody is there now.
func errPerhapsNot(peer string) *Error {
	return fault("not_delivered", "the session ended first; who is there now comes with the next welcome: send it anew, if twice does no harm",
		"the message for %q may not have arrived", peer)
}

func errNoWait() *Error {
	return fault("not_waiting", `send "wait":true in join`, "only who has joined with wait may send to whoever comes next")
}

func errNextTakesOffers(t Type) *Error {
	return fault("bad_field", "send it when the peer has come", "whoever comes next gets an offer and its candidates, no %s", t)
}

func errNoOffer() *Error {
	return fault("candidate_before_offer", "send the offer first: candidates come after setLocalDescription", "there is no offer that this candidate belongs to")
}

func errManyHeld() *Error {
	return fault("too_many_candidates", "gather fewer: one STUN and one TURN server will do", "an offer that waits may have %d candidates", heldCandidates)
}

// ofFault is what is wrong with an SDP.
func ofFault(f *sdp.Fault) *Error { return &Error{Code: f.Code, Message: f.Message, Hint: f.Hint} }

func errEcho(t Type) *Error {
	return fault("echoed", "send pc.localDescription, not what came from the other side; do not pass your own messages on to yourself",
		"this %s is the other peer's own, sent back to it", t)
}

func errGlare(peer string) *Error {
	return fault("glare", "answer its offer, which is under way to you; then make your own, or ask with offer-request",
		"%q has offered as well, and its stack cannot take an offer back", peer)
}

func errNothingToAnswer(peer string) *Error {
	return fault("answer_without_offer", "answer each offer once, and send the answer to the peer that the offer came from",
		"%q has made you no offer that is still without an answer", peer)
}

func errStaleAnswer(peer, answered, offered string) *Error {
	return fault("answer_stale", "answer the newest offer, and repeat its offer member; an answer to one before a bye, or before a newer offer, counts for nothing",
		"the answer is to offer %q, and the newest of %q is %q", answered, peer, offered)
}

func errEarly() *Error {
	return fault("candidate_before_offer", "send the offer or answer first: candidates come after setLocalDescription",
		"%d candidates wait for a description that does not come", earlyCandidates)
}

func errStale(ufrag string) *Error {
	return fault("candidate_stale", "after an ICE restart send the candidates of the new description only", "the candidate belongs to %.64q, which a restart has ended; it was dropped", ufrag)
}

func errNoSection(n int) *Error {
	return fault("candidate_no_section", "send event.candidate as it is; it has sdpMid and sdpMLineIndex", "the candidate names none of the %d media sections", n)
}

func errWrongSection(which string, n int) *Error {
	return fault("candidate_no_section", "it belongs to another description; send event.candidate as it is", "the description has no media section %.64s, but %d", which, n)
}

func errCandidateShape(what string) *Error {
	return fault("bad_field", "send event.candidate of the icecandidate event as it is, or null when gathering ends", "%s", what)
}

func errNoCandidates() *Error {
	return fault("no_candidates", "a stack that does not trickle (aiortc) sends its description when gathering is complete; others send each event.candidate",
		"the offer has no candidate in it and none has come since, so the other side knows no address to connect to")
}

func errLocalOnly() *Error {
	return fault("candidates_local_only", "give the RTCPeerConnection the iceServers of welcome, and see that UDP or TCP to them is not blocked: turnkey nattest tells",
		"all candidates are of the machine or network that they were made in; nobody elsewhere can reach them")
}

func errNoRelay() *Error {
	return fault("no_relay_candidate", "is the credential current, and is the TURN server reached from there? turnkey nattest, or the page /nat, tells which step fails",
		"TURN servers were given, but there is no relay candidate")
}

func errNobodyOffered(to string) *Error {
	return fault("nobody_offered", "you are the initiator: call createOffer and send the offer; a stack that only answers needs the other side to begin",
		"neither you nor %q has sent an offer", to)
}

func errNotJoined() *Error {
	return fault("not_joined", `send {"type":"join","room":"ROOM"} first`, "this socket is in no room")
}

func errJoined(room string) *Error {
	return fault("already_joined", "open another WebSocket for another room", "this socket is in room %q", room)
}

func errNoPeer(peer string) *Error {
	return fault("peer_not_found", "peers come with welcome and peer-joined and go with peer-left; a message to oneself is never delivered",
		"no other peer %.64q in the room", peer)
}

func errJoinTimeout() *Error {
	return fault("join_timeout", `send {"type":"join","room":"ROOM"} right after the socket opens`, "no join within %v", joinTimeout)
}

func errTooLarge() *Error {
	return fault("too_large", "send big data over a data channel", "a message may have %d bytes", maxMessage)
}

func errRate() *Error {
	return fault("rate_limited", "wait between messages; send big or frequent data over a data channel",
		"more than %d messages per second after a burst of %d", messageRate, messageBurst)
}

func errSlow() *Error {
	return fault("slow_consumer", "read the socket all the time; then join again", "more than %d messages or %d bytes were waiting to be read", queueFrames, queueBytes)
}

func errBinary() *Error {
	return fault("bad_json", "send JSON as text: ws.send(JSON.stringify(message))", "a binary frame came in; messages are text")
}
