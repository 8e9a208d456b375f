package nattest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/pion/stun/v3"
)

// dialog is the client's side of TURN (RFC 8656) without I/O: it builds
// requests, recognises their answers and keeps realm and nonce.
type dialog struct {
	username, password string
	realm, nonce       string
	key                stun.MessageIntegrity // nil until challenged
}

// reply is what an answer means.
type reply struct {
	ok        bool
	code      int    // of an error answer (RFC 8656 section 19), 0 when it has none
	phrase    string // its words
	challenge bool   // 401 or 438 with a fresh nonce: ask again
}

// request builds a request, authenticated once the server has challenged.
func (d *dialog) request(method stun.Method, attrs ...stun.Setter) (*stun.Message, error) {
	set := append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attrs...)
	if d.key != nil {
		set = append(set, stun.NewUsername(d.username), stun.NewRealm(d.realm), stun.NewNonce(d.nonce), d.key)
	}
	return stun.Build(set...)
}

// answer takes a message and says whether it answers the request. A success
// whose MESSAGE-INTEGRITY is wrong is not an answer (RFC 8489 section 9.2.5).
func (d *dialog) answer(req *stun.Message, raw []byte) (*stun.Message, reply, bool) {
	m, ok := decode(raw)
	if !ok || m.TransactionID != req.TransactionID || m.Type.Method != req.Type.Method {
		return nil, reply{}, false
	}
	switch m.Type.Class {
	case stun.ClassSuccessResponse:
		if req.Contains(stun.AttrMessageIntegrity) && d.key.Check(m) != nil {
			return nil, reply{}, false
		}
		return m, reply{ok: true}, true
	case stun.ClassErrorResponse:
		var r reply
		var code stun.ErrorCodeAttribute
		if code.GetFrom(m) == nil {
			r.code, r.phrase = int(code.Code), clean(string(code.Reason))
		}
		r.challenge = d.challenged(req, m, r.code)
		return m, r, true
	}
	return nil, reply{}, false
}

// challenged takes realm and nonce from a first 401 or from a 438.
func (d *dialog) challenged(req, m *stun.Message, code int) bool {
	first := code == 401 && !req.Contains(stun.AttrMessageIntegrity)
	if !first && code != 438 {
		return false
	}
	var realm stun.Realm
	var nonce stun.Nonce
	if realm.GetFrom(m) != nil || nonce.GetFrom(m) != nil || len(realm) > 763 || len(nonce) > 763 {
		return false
	}
	d.realm, d.nonce = realm.String(), nonce.String()
	d.key = stun.NewLongTermIntegrity(d.username, d.realm, d.password)
	return true
}

// Attributes of RFC 8656 section 18 that the STUN library has no types for.

func requestedTransportUDP() stun.Setter {
	return stun.RawAttribute{Type: stun.AttrRequestedTransport, Length: 4, Value: []byte{17, 0, 0, 0}}
}

func lifetime(seconds uint32) stun.Setter {
	return stun.RawAttribute{Type: stun.AttrLifetime, Length: 4, Value: binary.BigEndian.AppendUint32(nil, seconds)}
}

func data(b []byte) stun.Setter {
	return stun.RawAttribute{Type: stun.AttrData, Length: uint16(len(b)), Value: b}
}

// peer is XOR-PEER-ADDRESS.
type peer netip.AddrPort

// AddTo implements stun.Setter.
func (p peer) AddTo(m *stun.Message) error {
	a := netip.AddrPort(p)
	return stun.XORMappedAddress{IP: net.IP(a.Addr().AsSlice()), Port: int(a.Port())}.AddToAs(m, stun.AttrXORPeerAddress)
}

// indication builds a Send indication (RFC 8656 section 11.1).
func indication(to netip.AddrPort, payload []byte) (*stun.Message, error) {
	return stun.Build(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peer(to), data(payload))
}

// delivered says whether a message is a Data indication with this payload up
// to its last byte, and returns that byte.
func delivered(raw, payload []byte) (last byte, ok bool) {
	m, ok := decode(raw)
	if !ok || m.Type != stun.NewType(stun.MethodData, stun.ClassIndication) {
		return 0, false
	}
	got, err := m.Get(stun.AttrData)
	if err != nil || len(got) != len(payload) || !bytes.Equal(got[:len(got)-1], payload[:len(payload)-1]) {
		return 0, false
	}
	return got[len(got)-1], true
}

// said is an error answer in words.
func (r reply) said() string {
	switch {
	case r.code == 0:
		return "an error without a code"
	case r.phrase == "":
		return fmt.Sprintf("error %d", r.code)
	}
	return fmt.Sprintf("error %d (%s)", r.code, r.phrase)
}
