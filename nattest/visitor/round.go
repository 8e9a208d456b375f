package visitor

import (
	"math"
	"net/netip"
	"time"

	"turnkey/nattest"
)

// How checks are sent. The control is waited for first: without it silence
// would say nothing.
const (
	roundCount   = 5
	roundsOfLoss = 12 // where the page answers some of the control, and others get lost
	roundEvery   = 80 * time.Millisecond
	controlWait  = 2500 * time.Millisecond // for the page's own check
	answerWait   = 200 * time.Millisecond  // for the last answers, at least
	disturbWait  = 1500 * time.Millisecond // for the page's check to the endpoint that pushed
	replyWait    = 1500 * time.Millisecond // for the page's checks that are answered
	maxReplies   = 8
)

// via says which socket of the server a check leaves from.
type via int

const (
	viaControl via = iota // a fresh port of the same address, that the page sends to, too
	viaPort               // the other port of the same address
	viaBoth               // the other port of the other address
	viaCount
)

// outgoing is a check that is to be sent.
type outgoing struct {
	via via
	to  netip.AddrPort
	raw []byte
	id  transaction
}

// rounds is the filtering test of one family, as a state machine that does no
// I/O and reads no clock.
type rounds struct {
	page, own credentials
	to        netip.AddrPort // the page's address in the Allocate: where it sees the server from
	has       [viaCount]bool // the sockets that there are

	begun   time.Time
	control netip.AddrPort // where the page's own check came from; invalid: none came
	first   time.Time      // when the first round is sent, once the control is known
	counts  nattest.Rounds
	quota   int // of rounds
	pending map[transaction]pending
	got     [roundsOfLoss][viaCount]bool
	rtt     time.Duration
	after   [viaCount]netip.AddrPort // where the page's checks to the sockets that pushed came from

	replies int
}

type pending struct {
	round int
	via   via
	at    time.Time
}

func newRounds(now time.Time, page, own credentials, to netip.AddrPort, port, both bool) *rounds {
	return &rounds{
		page: page, own: own, to: to, begun: now, quota: roundCount, pending: map[transaction]pending{},
		has: [viaCount]bool{viaControl: true, viaPort: port, viaBoth: both},
	}
}

// next returns what is due now, and when to call again, or that all is over.
func (r *rounds) next(now time.Time) (out []outgoing, wake time.Time, over bool) {
	switch {
	case !r.control.IsValid():
		wake = r.begun.Add(controlWait)
		return nil, wake, !now.Before(wake)
	case r.settled():
		return nil, now, true
	}
	due := r.first.Add(time.Duration(r.counts.Sent) * roundEvery)
	if r.counts.Sent == r.quota {
		due = due.Add(max(answerWait, r.rtt*3/2+50*time.Millisecond) - roundEvery)
	}
	switch {
	case now.Before(due):
		return nil, due, false
	case r.counts.Sent < r.quota:
		out = r.round(now)
		return out, r.first.Add(time.Duration(r.counts.Sent) * roundEvery), false
	case r.quota < roundsOfLoss && r.doubtful():
		r.quota, r.first = roundsOfLoss, now.Add(-time.Duration(r.counts.Sent)*roundEvery)
		return nil, now, false
	}
	return nil, now, true
}

// doubtful tells whether loss could be taken for silence, by the control.
func (r *rounds) doubtful() bool {
	lost := 1 - float64(r.counts.ControlOK)/float64(r.counts.Sent)
	return r.counts.ControlOK > 0 && math.Pow(lost, float64(r.counts.Sent)) > 1e-3
}

// settled tells whether more rounds could change nothing: what comes from
// furthest away has arrived, and the control.
func (r *rounds) settled() bool {
	return r.counts.ControlOK > 0 && (r.counts.ChangedBothOK > 0 || !r.has[viaBoth] && r.counts.ChangedPortOK > 0)
}

func (r *rounds) round(now time.Time) (out []outgoing) {
	for v := viaControl; v < viaCount; v++ {
		if !r.has[v] {
			continue
		}
		to := r.to
		if v == viaControl {
			to = r.control
		}
		id, raw := newCheck(r.page, r.own)
		r.pending[id] = pending{r.counts.Sent, v, now}
		out = append(out, outgoing{v, to, raw, id})
	}
	r.counts.Sent++
	return out
}

// checked takes a check that the page sent to the control socket, and returns
// an answer to it, if there is one. It counts if it comes from the address that
// the page has been seen at. That of the tested connection opens the control and
// gets no answer, so that nothing is ever connected. That of another one, which
// knows no address but its own, is answered with the address that it came from
// (RFC 8445 section 7.3.1.2): so the browser learns whether there is a NAT.
func (r *rounds) checked(raw []byte, from netip.AddrPort, now time.Time) (reply []byte) {
	switch {
	case from.Addr() != r.to.Addr():
	case fromPage(raw, r.page.Ufrag, r.own):
		if !r.control.IsValid() {
			r.control, r.first = from, now
		}
	case r.replies < maxReplies && fromPage(raw, "", r.own):
		r.replies++
		return newReply(raw, r.own, from)
	}
	return nil
}

// answered takes an answer that came to a socket.
func (r *rounds) answered(id transaction, v via, now time.Time) {
	p, ok := r.pending[id]
	if !ok || p.via != v || r.got[p.round][v] {
		return
	}
	delete(r.pending, id)
	r.got[p.round][v] = true
	switch v {
	case viaControl:
		r.counts.ControlOK++
		if took := now.Sub(p.at); r.rtt == 0 || took < r.rtt {
			r.rtt = took
		}
	case viaPort:
		r.counts.ChangedPortOK++
	case viaBoth:
		r.counts.ChangedBothOK++
	}
}

// returned takes a check of the page to a socket that has pushed to it: its
// source is the mapping towards there, after the unsolicited packets.
func (r *rounds) returned(raw []byte, v via, from netip.AddrPort) {
	if v != viaControl && r.counts.Sent > 0 && !r.after[v].IsValid() && fromPage(raw, r.page.Ufrag, r.own) {
		r.after[v] = from
	}
}

// far is the socket furthest away from the one that the page knows.
func (r *rounds) far() via {
	if r.has[viaBoth] {
		return viaBoth
	}
	return viaPort
}
