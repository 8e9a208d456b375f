package turnsrv

import (
	"net"
	"time"

	"github.com/pion/stun/v3"
)

// WriteTo sends what pion sends: data for a client as it is, responses
// completed. Responses come from the goroutine that reads, data from others.
func (g *gate) WriteTo(p []byte, to net.Addr) (int, error) {
	if isSTUN(p) && p[0]&1 == 1 { // the class bit of responses, RFC 8489 section 5
		if _, err := g.PacketConn.WriteTo(g.complete(p), to); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return g.PacketConn.WriteTo(p, to)
}

// complete puts right the response p to the request in hand: a denied peer is
// 403 (Forbidden), and every error after authentication carries
// MESSAGE-INTEGRITY (RFC 8489 section 9.2.4).
func (g *gate) complete(p []byte) []byte {
	m, r := &g.response, &g.request
	m.Raw = append(m.Raw[:0], p...)
	if m.Decode() != nil || m.TransactionID != r.id {
		return p
	}
	if m.Type.Class == stun.ClassSuccessResponse {
		g.granted(m)
		return p
	}
	var code stun.ErrorCodeAttribute
	_ = code.GetFrom(m)
	switch {
	case r.key == nil || code.Code == stun.CodeStaleNonce:
		return p
	case r.refused:
		g.server.log.Debug("peer denied", "client", r.from, "transport", g.transport, "rule", r.denied)
		return g.build(r, &stun.ErrorCodeAttribute{Code: stun.CodeForbidden}, r.key)
	case code.Code == 0: // pion's answer to a CreatePermission without a peer
		return g.build(r, &stun.ErrorCodeAttribute{Code: stun.CodeBadRequest}, r.key)
	case !m.Contains(stun.AttrMessageIntegrity):
		if r.key.AddTo(m) == nil {
			return m.Raw
		}
	}
	return p
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

// granted notes when an allocation will expire, from the LIFETIME granted. A
// repeated answer to an Allocate does not prolong it.
func (g *gate) granted(m *stun.Message) {
	lifetime, err := m.Get(stun.AttrLifetime)
	s := g.session(g.request.from)
	if err != nil || len(lifetime) != 4 || s == nil || m.Type.Method == stun.MethodAllocate && !s.expires.IsZero() {
		return
	}
	seconds := time.Duration(lifetime[0])<<24 | time.Duration(lifetime[1])<<16 | time.Duration(lifetime[2])<<8 | time.Duration(lifetime[3])
	s.expires = time.Now().Add(seconds * time.Second)
}
