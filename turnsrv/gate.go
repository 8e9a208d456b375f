package turnsrv

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v3"
	"turnkey/turnsrv/cred"
)

// expiryMargin is how long before the end of an allocation no permission or
// channel is installed any more: pion must not install one while its timer
// deletes the allocation.
const expiryMargin = time.Second

// gate is what pion reads from and writes to: one socket, on which Binding is
// answered already. It lets pass what pion may see, one request at a time, and
// puts right what pion answers.
//
//	ReadFrom: socket -> admit -> pion
//	WriteTo:  pion -> complete -> socket
//
// pion handles a request on the goroutine that called ReadFrom and calls
// ReadFrom again when it is done, so between the two the request in hand is
// known: to the functions that pion asks for a key, a permission or a relay
// socket, and to WriteTo for the response.
type gate struct {
	net.PacketConn
	server    *Server
	transport string
	// hold tells the transport that a client has an allocation, or has it no
	// more. It reports whether the client is still there.
	hold func(client netip.AddrPort, allocated bool) bool

	// Used only by the goroutine that reads.
	message  stun.Message
	response stun.Message
	request  request
	opened   *relay // the relay socket made for the request in hand

	// handling is held while pion handles a request. Ending a session takes it,
	// so that pion never deletes an allocation while it adds to it.
	handling sync.Mutex
	held     bool

	mu       sync.Mutex
	sessions map[netip.AddrPort]*session // by client: with this socket, the five-tuple
}

// request is the request in hand.
type request struct {
	typ     stun.MessageType
	id      [stun.TransactionIDSize]byte
	from    netip.AddrPort
	key     stun.MessageIntegrity // the one that its integrity holds under; nil = not authenticated
	peers   int                   // XOR-PEER-ADDRESS attributes
	denied  string                // why one of them is denied
	refused bool                  // pion asked and was told so
	deletes bool                  // Refresh with LIFETIME 0
}

// ReadFrom returns the next message that pion may see. It fails only when the
// socket is closed, or for good.
func (g *gate) ReadFrom(p []byte) (int, net.Addr, error) {
	g.release()
	for failures := 0; ; {
		n, from, err := g.PacketConn.ReadFrom(p)
		if err != nil {
			if failures++; errors.Is(err, net.ErrClosed) || failures == maxReadFailures {
				return 0, nil, err
			}
			continue
		}
		failures = 0
		if isChannelData(p[:n]) {
			return n, from, nil
		}
		if n = g.admit(p[:n], addrPort(from)); n > 0 {
			return n, from, nil
		}
	}
}

func (g *gate) release() {
	if g.held {
		g.held = false
		g.request = request{}
		g.handling.Unlock()
	}
}

// admit returns how much of message b pion may see: nothing, all, the part up to
// MESSAGE-INTEGRITY (what follows does not count, RFC 8489 section 14.5), or the
// part before it, which makes pion ask for credentials again.
func (g *gate) admit(b []byte, from netip.AddrPort) int {
	m := &g.message
	m.Raw = b
	if m.Decode() != nil || stunHeader+int(m.Length) != len(b) {
		return 0
	}
	switch m.Type {
	case stun.NewType(stun.MethodSend, stun.ClassIndication):
		if g.session(from) == nil {
			return 0
		}
		return len(b)
	case stun.NewType(stun.MethodAllocate, stun.ClassRequest),
		stun.NewType(stun.MethodRefresh, stun.ClassRequest),
		stun.NewType(stun.MethodCreatePermission, stun.ClassRequest),
		stun.NewType(stun.MethodChannelBind, stun.ClassRequest):
	default:
		return 0
	}
	r := request{typ: m.Type, id: m.TransactionID, from: from}
	n := len(b)
	if integrity, ok := offset(m, stun.AttrMessageIntegrity); ok {
		n = cut(b, integrity+4+20)
		m.Raw = b[:n]
		if m.Decode() != nil {
			return 0
		}
		if m.Contains(stun.AttrUsername) && m.Contains(stun.AttrRealm) && m.Contains(stun.AttrNonce) {
			if r.key = g.authenticate(m, from); r.key == nil {
				n = cut(b, integrity)
			}
		}
	}
	g.inspect(m, &r)
	return g.begin(r, n)
}

// begin makes r the request in hand, unless its allocation is about to end.
func (g *gate) begin(r request, n int) int {
	s := g.session(r.from)
	g.handling.Lock()
	if s != nil {
		adds := r.peers > 0 && !time.Now().Before(s.expires.Add(-expiryMargin))
		if adds || s.ending.Load() {
			g.handling.Unlock()
			return 0
		}
	}
	g.held, g.request, g.opened = true, r, nil
	return n
}

// authenticate returns the key of a request, or nil if its user or password is
// wrong. A credential must be current for an Allocate; an allocation that it
// made goes on without.
func (g *gate) authenticate(m *stun.Message, from netip.AddrPort) stun.MessageIntegrity {
	username, _ := m.Get(stun.AttrUsername)
	realm, _ := m.Get(stun.AttrRealm)
	expires, _, err := cred.Parse(string(username))
	if err != nil || string(realm) != g.server.realm {
		g.refuse(m, from, "unknown user or realm")
		return nil
	}
	if !time.Now().Before(expires) && !g.owns(from, string(username), m.Type.Method) {
		g.refuse(m, from, "credential expired at "+expires.UTC().Format(time.RFC3339))
		return nil
	}
	for _, password := range g.server.secrets.Passwords(string(username)) {
		key := stun.NewLongTermIntegrity(string(username), g.server.realm, password)
		if key.Check(m) == nil {
			return key
		}
	}
	g.refuse(m, from, "wrong password")
	return nil
}

// owns reports whether a request other than Allocate comes from the user of a
// live allocation.
func (g *gate) owns(from netip.AddrPort, username string, method stun.Method) bool {
	s := g.session(from)
	return method != stun.MethodAllocate && s != nil && s.Username == username
}

func (g *gate) refuse(m *stun.Message, from netip.AddrPort, why string) {
	username, _ := m.Get(stun.AttrUsername)
	g.server.log.Debug("request refused", "client", from, "transport", g.transport, "method", m.Type.Method.String(),
		"user", string(username[:min(len(username), 128)]), "reason", why)
}

// inspect reads from the request what pion's callbacks are not told.
func (g *gate) inspect(m *stun.Message, r *request) {
	for _, a := range m.Attributes {
		switch {
		case a.Type == stun.AttrXORPeerAddress && r.typ.Method != stun.MethodAllocate:
			r.peers++
			if r.denied == "" {
				r.denied = g.denied(m, a, r.typ.Method)
			}
		case a.Type == stun.AttrLifetime && r.typ.Method == stun.MethodRefresh && len(a.Value) == 4:
			r.deletes = binary.BigEndian.Uint32(a.Value) == 0
		}
	}
}

// denied returns why the peer in attribute a may not be reached.
func (g *gate) denied(m *stun.Message, a stun.RawAttribute, method stun.Method) string {
	var peer stun.XORMappedAddress
	one := stun.Message{TransactionID: m.TransactionID, Attributes: stun.Attributes{a}}
	if peer.GetFromAs(&one, stun.AttrXORPeerAddress) != nil {
		return "malformed XOR-PEER-ADDRESS"
	}
	addr, _ := netip.AddrFromSlice(peer.IP)
	if method == stun.MethodChannelBind {
		return g.server.peers.Send(netip.AddrPortFrom(addr, uint16(peer.Port)))
	}
	return g.server.peers.Permission(netip.AddrPortFrom(addr, uint16(peer.Port)))
}

// authKey, permit and created are pion's callbacks for the request in hand.

func (g *gate) authKey(string, string, net.Addr) ([]byte, bool) {
	if g.request.deletes && g.request.key != nil {
		if s := g.session(g.request.from); s != nil {
			s.because(EndDeleted)
		}
	}
	return g.request.key, g.request.key != nil
}

func (g *gate) permit(net.Addr, net.IP) bool {
	g.request.refused = g.request.denied != ""
	return !g.request.refused
}

func (g *gate) created(_, _ net.Addr, _, username, _ string, relayed net.Addr, _ int) {
	_, label, _ := cred.Parse(username)
	s := &session{relay: g.opened, Session: Session{
		Username: username, Label: label, Client: g.request.from, Relay: addrPort(relayed),
		Transport: g.transport, Created: time.Now(),
	}}
	g.server.sessions.add(s)
	g.mu.Lock()
	g.sessions[s.Client] = s
	g.mu.Unlock()
	s.relay.whenEnded(func() {
		g.mu.Lock()
		delete(g.sessions, s.Client)
		g.mu.Unlock()
		g.hold(s.Client, false)
		s.log(g.server.log)
		g.server.sessions.remove(s)
	})
	if !g.hold(s.Client, true) { // the connection ended while its Allocate was waiting
		go g.end(s.Client, EndGone)
	}
}

// end ends the session of client, if it has one: pion deletes an allocation
// whose relay socket fails.
func (g *gate) end(client netip.AddrPort, reason string) {
	s := g.session(client)
	if s == nil {
		return
	}
	g.handling.Lock()
	s.ending.Store(true)
	g.handling.Unlock()
	s.because(reason)
	_ = s.relay.PacketConn.Close()
}

func (g *gate) session(client netip.AddrPort) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions[client]
}

// offset returns where attribute t begins in m.
func offset(m *stun.Message, t stun.AttrType) (int, bool) {
	at := stunHeader
	for _, a := range m.Attributes {
		if a.Type == t {
			return at, true
		}
		at += 4 + (int(a.Length)+3)&^3
	}
	return 0, false
}

// cut ends message b before byte at, if it is longer, and returns its new length.
func cut(b []byte, at int) int {
	at = min(at, len(b))
	binary.BigEndian.PutUint16(b[2:4], uint16(at-stunHeader))
	return at
}
