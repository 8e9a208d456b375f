package nattest

import (
	"context"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// Fragments is whether datagrams too large for an Ethernet frame pass (RFC 5780
// section 4.8). Direct connections do not need them; TURN over UDP with large
// media packets, and DTLS with large certificates, may.
type Fragments struct {
	State    string `json:"state"` // yes (both ways), no (one way at least does not), unknown or not_tested
	Why      string `json:"why,omitempty"`
	Outbound string `json:"outbound,omitempty"` // yes, no or unknown: towards the server
	Inbound  string `json:"inbound,omitempty"`  // yes, no, unknown or not_tested: from the server
	Bytes    int    `json:"bytes,omitempty"`    // size of the request, without the headers of UDP and IP
}

// oversize is the length of an attribute that makes a request longer than
// Ethernet's 1500 bytes, and no longer than servers read.
const oversize = 1472

// attrIgnored is of the range that a server ignores what it does not know of
// (RFC 8489 section 14): a long request with it has a short answer.
const attrIgnored = 0xC0FE

// fragmentsTest sends two long requests, one of which asks for a long answer.
type fragmentsTest struct {
	asks
	trial *paired
	large int // bytes of the request
}

func newFragments(now time.Time, server netip.AddrPort, request requester) *fragmentsTest {
	t := &fragmentsTest{}
	out := request(stun.RawAttribute{Type: attrIgnored, Value: make([]byte, oversize)})
	both := request(stun.RawAttribute{Type: stun.AttrPadding, Value: make([]byte, oversize)})
	t.large = len(both.Raw)
	t.trial = t.rounds(now, 0, server, request, out, both)
	return t
}

func (t *fragmentsTest) receive(raw []byte, from netip.AddrPort, socket int, now time.Time) bool {
	k, _ := t.hear(raw, from, socket, now)
	if k == nil {
		return false
	}
	t.trial.settle(k)
	return true
}

func (t *fragmentsTest) conclude() Fragments {
	f := Fragments{State: Unknown, Outbound: Unknown, Inbound: Unknown, Bytes: t.large}
	out, both := t.trial.subjects[0], t.trial.subjects[1]
	answer, answered := both.first(stun.ClassSuccessResponse)
	proof := t.trial.proves()
	switch {
	case len(out.heard) > 0 || len(both.heard) > 0:
		f.Outbound = "yes"
	case proof:
		f.Outbound = "no"
	}
	switch padded := answered && len(answer.message.Raw) >= oversize; {
	case padded:
		f.Inbound = "yes"
	case len(both.heard) > 0:
		f.Inbound, f.Why = NotTested, "the server sends no long answers (PADDING)"
	case f.Outbound == "yes" && proof:
		f.Inbound = "no"
	case f.Outbound == "no":
		f.Why = "no long request arrives, so there was no long answer either"
	}
	switch {
	case f.Outbound == "no" || f.Inbound == "no":
		f.State = "no"
	case f.Outbound == "yes" && f.Inbound == "yes":
		f.State = "yes"
	case f.Why == "":
		f.Why = "too many answers were lost"
	}
	return f
}

// fragments runs the test with one socket.
func (g *ground) fragments(ctx context.Context, why string) Fragments {
	socks, why := g.sockets(ctx, "fragments", why, 1)
	if why != "" {
		return Fragments{State: NotTested, Why: why}
	}
	t := newFragments(time.Now(), g.server, g.request)
	g.c.drive(ctx, t, socks)
	return t.conclude()
}
