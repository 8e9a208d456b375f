package turnsrv

import (
	"encoding/binary"
	"net"
	"time"

	"github.com/pion/stun/v3"
)

// WriteTo sends pion's response to the request in hand, completed.
func (g *gate) WriteTo(p []byte, to net.Addr) (int, error) {
	if _, err := g.WriteToUDPAddrPort(g.complete(p), addrPort(to)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// complete makes of pion's response to the request in hand what the client is
// to get: the method that was asked, MESSAGE-INTEGRITY on every error after
// authentication (RFC 8489 section 9.2.4), and what an Allocate was granted.
func (g *gate) complete(p []byte) []byte {
	m, r := &g.response, &g.request
	m.Raw = append(m.Raw[:0], p...)
	if m.Decode() != nil || m.TransactionID != r.id {
		return p
	}
	if nonce, err := m.Get(stun.AttrNonce); err == nil {
		g.nonces.saw(nonce, time.Now())
	}
	switch {
	case r.challenged:
		m.SetType(stun.NewType(r.typ.Method, stun.ClassErrorResponse))
		m.WriteHeader()
		return m.Raw
	case m.Type.Class == stun.ClassSuccessResponse:
		return g.granted(m, p)
	case r.key != nil && !m.Contains(stun.AttrMessageIntegrity) && !m.Contains(stun.AttrNonce):
		if r.key.AddTo(m) == nil {
			return m.Raw
		}
	}
	return p
}

// granted notes how long an allocation was granted for. In the answer to an
// Allocate it puts right what pion says of reservations, and says what became
// of an additional address family.
func (g *gate) granted(m *stun.Message, p []byte) []byte {
	r, s := &g.request, g.session(g.request.from)
	lifetime, ok := attr(m, stun.AttrLifetime, 4)
	again := r.typ.Method == stun.MethodAllocate && s != nil && !s.expires.IsZero()
	if s != nil && ok && lifetime != nil && !again { // a repeated answer to an Allocate prolongs nothing
		s.expires = time.Now().Add(time.Duration(binary.BigEndian.Uint32(lifetime)) * time.Second)
	}
	if r.typ.Method != stun.MethodAllocate || !r.even && !r.additional {
		return p
	}
	setters := []stun.Setter{}
	for _, a := range m.Attributes {
		if a.Type != stun.AttrMessageIntegrity && a.Type != stun.AttrReservationToken {
			setters = append(setters, a)
		}
	}
	if s != nil && s.reservation != ([8]byte{}) {
		setters = append(setters, stun.RawAttribute{Type: stun.AttrReservationToken, Value: s.reservation[:]})
	}
	if r.additional { // RFC 8656 section 18.12: one family for each allocation here
		setters = append(setters, stun.RawAttribute{Type: attrAddressErrorCode, Value: []byte{familyIPv6, 0, 4, 40}})
	}
	answer, err := stun.Build(append([]stun.Setter{stun.NewTransactionIDSetter(r.id), m.Type}, append(setters, r.key)...)...)
	if err != nil {
		return p
	}
	return answer.Raw
}

// build makes an error response to r. The reason phrase is left empty: it would
// only make the response longer.
func (g *gate) build(r *request, setters ...stun.Setter) []byte {
	m := &g.response
	m.Reset()
	m.TransactionID = r.id
	m.SetType(stun.NewType(r.typ.Method, stun.ClassErrorResponse))
	m.WriteHeader()
	for _, s := range setters {
		if s.AddTo(m) != nil {
			return nil
		}
	}
	return m.Raw
}
