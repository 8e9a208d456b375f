package nattest

import (
	"context"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// ALG is whether something on the way rewrites addresses inside packets, an
// application-level gateway gone wrong (RFC 5780 section 4.9, RFC 4787 REQ-10).
type ALG struct {
	State    string         `json:"state"` // yes (one way at least), no, unknown or not_tested
	Why      string         `json:"why,omitempty"`
	Outbound string         `json:"outbound,omitempty"`          // yes, no or unknown: in requests
	Inbound  string         `json:"inbound,omitempty"`           // yes, no or unknown: in answers
	Mapped   netip.AddrPort `json:"mapped_address,omitzero"`     // MAPPED-ADDRESS as it arrived, where it was rewritten
	XOR      netip.AddrPort `json:"xor_mapped_address,omitzero"` // XOR-MAPPED-ADDRESS beside it
}

// algTest sends requests that bear the socket's own address, as it is and with
// a checksum (FINGERPRINT): a server drops one that was changed on the way, and
// the checksum of its answer tells whether that was. The trial's controls bear
// neither.
type algTest struct {
	asks
	trial *paired
}

func newALG(now time.Time, local, server netip.AddrPort, request requester) *algTest {
	t := &algTest{}
	bait := stun.RawAttribute{Type: attrIgnored, Value: plainAddress(local)}
	t.trial = t.rounds(now, 0, server, request, request(bait, stun.Fingerprint))
	return t
}

// plainAddress is an address and port as MAPPED-ADDRESS has them: in clear, for
// a gateway to find.
func plainAddress(a netip.AddrPort) []byte {
	family := byte(1)
	if a.Addr().Is6() {
		family = 2
	}
	return append([]byte{0, family, byte(a.Port() >> 8), byte(a.Port())}, a.Addr().AsSlice()...)
}

func (t *algTest) receive(raw []byte, from netip.AddrPort, socket int, now time.Time) bool {
	k, h := t.hear(raw, from, socket, now)
	if k == nil || h.message.Type.Class != stun.ClassSuccessResponse {
		return false
	}
	if k == t.trial.subjects[0] {
		t.trial.settle(k)
	}
	return true
}

func (t *algTest) conclude() ALG {
	r := ALG{State: Unknown, Outbound: Unknown, Inbound: Unknown}
	baited := t.trial.subjects[0]
	if answer, ok := baited.first(stun.ClassSuccessResponse); ok {
		r.Outbound = "no"
		if answer.message.Contains(stun.AttrFingerprint) {
			r.Inbound = "no"
			if stun.Fingerprint.Check(answer.message) != nil {
				r.Inbound = "yes"
			}
		}
	} else if t.trial.proves() {
		r.Outbound = "yes"
	}
	for _, k := range t.all { // one rewritten answer is proof enough
		answer, ok := k.first(stun.ClassSuccessResponse)
		if !ok {
			continue
		}
		xor, ok := xorAddr(answer.message, stun.AttrXORMappedAddress)
		if mapped := addrOf(answer.message, stun.AttrMappedAddress); ok && mapped.IsValid() {
			if mapped == xor && r.Inbound == Unknown {
				r.Inbound = "no"
			} else if mapped != xor {
				r.Inbound, r.Mapped, r.XOR = "yes", mapped, xor
			}
		}
	}
	switch {
	case r.Inbound == "yes" || r.Outbound == "yes":
		r.State = "yes"
	case r.Inbound == "no" && r.Outbound == "no":
		r.State = "no"
	default:
		r.Why = "too few answers came back, or they bear nothing to compare"
	}
	return r
}

// alg runs the test with one socket.
func (g *ground) alg(ctx context.Context, why string) ALG {
	socks, why := g.sockets(ctx, "application-level gateways", why, 1)
	if why != "" {
		return ALG{State: NotTested, Why: why}
	}
	t := newALG(time.Now(), addrPort(socks[0].LocalAddr()), g.server, g.request)
	g.c.drive(ctx, t, socks)
	return t.conclude()
}
