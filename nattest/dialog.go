package nattest

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/pion/stun/v3"
)

// dialog is the client's side of TURN (RFC 8656) without I/O: it builds
// requests, recognises their answers and what peers sent, and keeps realm and nonce.
type dialog struct {
	username, password string
	realm, nonce       string
	key                stun.MessageIntegrity // nil until challenged
	bound              netip.AddrPort        // peer of the channel, invalid when there is none
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
			r.code, r.phrase = int(code.Code), Clean(string(code.Reason))
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

// channel is the number of the one channel that an allocation binds.
const channel = 0x4000

func channelNumber() stun.Setter {
	return stun.RawAttribute{Type: stun.AttrChannelNumber, Length: 4, Value: binary.BigEndian.AppendUint32(nil, channel<<16)}
}

// channelData is ChannelData (RFC 8656 section 12.4), padded as streams want it.
func channelData(payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 4+len(payload)+3), channel)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(payload))), payload...)
	return append(b, make([]byte, -len(payload)&3)...)
}

// received takes what a peer sent through the relay out of ChannelData of the
// bound channel or a Data indication.
func (d *dialog) received(raw []byte) (from netip.AddrPort, payload []byte, ok bool) {
	if len(raw) >= 4 && raw[0]>>6 == 1 {
		end := 4 + int(binary.BigEndian.Uint16(raw[2:4]))
		if binary.BigEndian.Uint16(raw) != channel || !d.bound.IsValid() || end > len(raw) {
			return netip.AddrPort{}, nil, false
		}
		return d.bound, raw[4:end], true
	}
	m, ok := decode(raw)
	if !ok || m.Type != stun.NewType(stun.MethodData, stun.ClassIndication) {
		return netip.AddrPort{}, nil, false
	}
	if from, ok = xorAddr(m, stun.AttrXORPeerAddress); !ok {
		return netip.AddrPort{}, nil, false
	}
	payload, err := m.Get(stun.AttrData)
	return from, payload, err == nil
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
