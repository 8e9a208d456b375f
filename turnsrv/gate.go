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

// gate is what pion reads from and writes to: one socket, on which Binding is
// answered already. Data it passes on itself. Of requests it answers what pion
// would answer wrongly or not at all, lets pass what pion may see, one at a time,
// and completes what pion answers.
//
//	ReadFrom: socket -> forward to the peer, or admit (authenticate, judge) -> pion
//	WriteTo:  pion -> complete -> socket
//
// pion handles a request on the goroutine that called ReadFrom and calls
// ReadFrom again when it is done, so between the two the request in hand is
// known: to the functions that pion asks for a key, a permission or a relay
// socket, and to WriteTo for the response.
type gate struct {
	socket
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
	nonces   nonces

	// handling is held while pion handles a request. Ending a session takes it,
	// so that pion never deletes an allocation while it adds to it.
	handling sync.Mutex
	held     bool

	mu       sync.RWMutex
	sessions map[netip.AddrPort]*session // by client: with this socket, the five-tuple
}

// request is the request in hand.
type request struct {
	typ      stun.MessageType
	id       [stun.TransactionIDSize]byte
	from     netip.AddrPort
	username string
	key      stun.MessageIntegrity // the one that its integrity holds under; nil = not authenticated

	challenged bool // shown to pion as an Allocate, to make it ask for credentials
	deletes    bool // Refresh with LIFETIME 0

	claimed bool // counted by the quotas; not yet a session
	// What an Allocate asks for.
	family        byte
	additional    bool    // ADDITIONAL-ADDRESS-FAMILY
	even, reserve bool    // EVEN-PORT, and the port above it
	token         [8]byte // RESERVATION-TOKEN
	reservation   [8]byte // the token of the port set aside for this one
}

// ReadFrom returns the next request that pion may see. It fails only when the
// socket is closed, or for good.
func (g *gate) ReadFrom(p []byte) (int, net.Addr, error) {
	g.release()
	for failures := 0; ; {
		n, from, err := g.ReadFromUDPAddrPort(p)
		if err != nil {
			if failures++; errors.Is(err, net.ErrClosed) || failures == maxReadFailures {
				return 0, nil, err
			}
			continue
		}
		failures = 0
		from = unmap(from)
		if isChannelData(p[:n]) {
			g.forward(p[:n], from)
		} else if n = g.admit(p[:n], from); n > 0 {
			return n, net.UDPAddrFromAddrPort(from), nil
		}
	}
}

// release ends the request in hand.
func (g *gate) release() {
	if g.held {
		g.held = false
		if g.request.claimed { // nothing came of it
			g.server.quotas.free(g.request.taker())
		}
		g.request = request{}
		g.handling.Unlock()
	}
}

// admit returns how much of message b pion may see; 0 is nothing.
func (g *gate) admit(b []byte, from netip.AddrPort) int {
	m := &g.message
	m.Raw = b
	if m.Decode() != nil || stunHeader+int(m.Length) != len(b) {
		return 0
	}
	switch m.Type {
	case stun.NewType(stun.MethodSend, stun.ClassIndication):
		g.forwardIndication(m, from)
	case stun.NewType(stun.MethodAllocate, stun.ClassRequest),
		stun.NewType(stun.MethodRefresh, stun.ClassRequest),
		stun.NewType(stun.MethodCreatePermission, stun.ClassRequest),
		stun.NewType(stun.MethodChannelBind, stun.ClassRequest):
		return g.admitRequest(b, from)
	}
	return 0
}

// admitRequest is admit for the requests of TURN. What follows
// MESSAGE-INTEGRITY does not count (RFC 8489 section 14.5) and is cut off. A
// request without integrity, or of a wrong user or password, or with a nonce
// that is not good, makes pion ask for credentials, which is all that it does
// with it.
func (g *gate) admitRequest(b []byte, from netip.AddrPort) int {
	m := &g.message
	r := request{typ: m.Type, id: m.TransactionID, from: from}
	integrity, ok := offset(m, stun.AttrMessageIntegrity)
	if !ok {
		return g.challenge(b, r)
	}
	b = b[:cut(b, integrity+4+20)]
	m.Raw = b
	if m.Decode() != nil {
		return 0
	}
	nonce, _ := m.Get(stun.AttrNonce)
	switch {
	case nonce == nil || !m.Contains(stun.AttrUsername) || !m.Contains(stun.AttrRealm):
		return g.refuse(r, bad("USERNAME, REALM or NONCE"))
	case !g.nonces.good(nonce, time.Now()):
		clear(nonce)             // in b: pion may see the end of its hour a little later
		return g.challenge(b, r) // with its integrity, so that pion answers 438
	}
	username, key, why := g.authenticate(m, from)
	if key == nil {
		g.server.refuse(&r, g.transport, username, refusal{code: stun.CodeUnauthorized, why: why})
		return g.challenge(b[:cut(b, integrity)], r)
	}
	r.username, r.key = username, key
	s := g.session(from)
	if refused := g.judge(m, &r, s); refused.code != 0 {
		return g.refuse(r, refused)
	}
	return g.begin(r, b, s)
}

// challenge shows pion a request as an Allocate without credentials, or with a
// nonce that is not good. pion answers 401 or 438 with a nonce, and complete
// makes it an answer to what was asked. The other methods would be answered
// only where there is an allocation.
func (g *gate) challenge(b []byte, r request) int {
	if !g.server.unauthenticated(g.transport, r.from.Addr()) {
		return 0
	}
	binary.BigEndian.PutUint16(b, stun.NewType(stun.MethodAllocate, stun.ClassRequest).Value())
	r.challenged = true
	return g.begin(r, b, nil)
}

// begin makes r the request in hand, unless its session has begun to end.
func (g *gate) begin(r request, b []byte, s *session) int {
	g.handling.Lock()
	if s != nil && s.ending.Load() {
		g.handling.Unlock()
		return 0
	}
	if s != nil && r.deletes {
		s.because(EndDeleted)
	}
	g.held, g.request, g.opened = true, r, nil
	return len(b)
}

// authenticate returns the user of a request and the key that its integrity
// holds under, or why there is none. A credential must be current, and its
// secret in force, for an Allocate; an allocation keeps the key it was made with.
func (g *gate) authenticate(m *stun.Message, from netip.AddrPort) (username string, key stun.MessageIntegrity, why string) {
	user, _ := m.Get(stun.AttrUsername)
	realm, _ := m.Get(stun.AttrRealm)
	username = string(user[:min(len(user), cred.MaxUsername)])
	switch {
	case len(user) > cred.MaxUsername:
		return username, nil, "the username is too long"
	case string(realm) != g.server.realm:
		return username, nil, "another realm"
	}
	if s := g.session(from); s != nil && m.Type.Method != stun.MethodAllocate && s.Username == username && s.key.Check(m) == nil {
		return username, s.key, ""
	}
	passwords, why := g.passwords(username)
	for _, password := range passwords {
		key := stun.NewLongTermIntegrity(username, g.server.realm, password)
		if key.Check(m) == nil {
			return username, key, ""
		}
	}
	return username, nil, why
}

// passwords returns those that a user may have, and what is wrong if it has
// none of them.
func (g *gate) passwords(username string) (passwords []string, why string) {
	if password, known := g.server.users[username]; known {
		return []string{password}, "wrong password"
	}
	u, err := cred.Parse(username)
	switch {
	case err != nil:
		return nil, "unknown user: username is " + err.Error()
	case !time.Now().Before(u.Expires):
		return nil, "credential expired at " + u.Expires.UTC().Format(time.RFC3339)
	}
	return g.server.secrets.Load().Passwords(username), "wrong password, or a secret that this server does not have"
}

// refuse answers r itself, and returns 0: nothing for pion.
func (g *gate) refuse(r request, refused refusal) int {
	if r.key != nil {
		g.server.refuse(&r, g.transport, r.username, refused)
	} else if !g.server.unauthenticated(g.transport, r.from.Addr()) {
		return 0
	}
	setters := []stun.Setter{&stun.ErrorCodeAttribute{Code: refused.code}}
	if len(refused.unknown) > 0 {
		setters = append(setters, refused.unknown)
	}
	if a := refused.alternate; a.IsValid() {
		setters = append(setters, &stun.AlternateServer{IP: a.Addr().AsSlice(), Port: int(a.Port())})
	}
	if r.key != nil {
		setters = append(setters, r.key)
	}
	if b := g.build(&r, setters...); b != nil {
		_, _ = g.WriteToUDPAddrPort(b, r.from) // a lost response is the client's to ask for again
	}
	return 0
}

// authKey and permit are pion's callbacks for the request in hand. What they
// say has been judged already.

func (g *gate) authKey(string, string, net.Addr) ([]byte, bool) {
	return g.request.key, g.request.key != nil
}

func (g *gate) permit(_ net.Addr, ip net.IP) bool {
	addr, ok := netip.AddrFromSlice(ip)
	return ok && g.server.peers.Permission(netip.AddrPortFrom(addr, 0)) == ""
}

// session returns the session of a client on this socket, or nil.
func (g *gate) session(client netip.AddrPort) *session {
	g.mu.RLock()
	defer g.mu.RUnlock()
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
