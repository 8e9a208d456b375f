package visitor

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/pion/stun/v3"
)

// transaction is the id of a STUN transaction, RFC 8489 section 5.
type transaction = [stun.TransactionIDSize]byte

// ICE attributes, RFC 8445 section 16.1.
const (
	attrPriority       = stun.AttrPriority
	attrICEControlled  = stun.AttrICEControlled
	priorityPeerRefl   = 110<<24 | 0xFFFF<<8 | 255 // RFC 8445 section 5.1.2.1, of a peer-reflexive candidate
	minUfrag, maxUfrag = 4, 32                     // RFC 8839 section 5.4 allows 256; browsers use 4 and 8
	minPwd, maxPwd     = 22, 64
)

// credentials are an ICE user fragment and its password, RFC 8839 section 5.4.
type credentials struct {
	Ufrag string `json:"ufrag"`
	Pwd   string `json:"pwd"`
}

// newCredentials makes the server's own for one test.
func newCredentials() credentials {
	b := make([]byte, 24)
	rand.Read(b) // never fails
	text := base64.RawStdEncoding.EncodeToString(b)
	return credentials{text[:8], text[8:]}
}

// valid tells whether c may be those of a page: ice-chars, and of a length that
// keeps checks short.
func (c credentials) valid() bool {
	return iceChars(c.Ufrag, minUfrag, maxUfrag) && iceChars(c.Pwd, minPwd, maxPwd)
}

func iceChars(s string, least, most int) bool {
	if len(s) < least || len(s) > most {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '+' && c != '/' {
			return false
		}
	}
	return true
}

// newCheck makes the request of a connectivity check (RFC 8445 section 7.2.2)
// that the page with these credentials answers: at most 120 bytes.
func newCheck(page, own credentials) (transaction, []byte) {
	m := stun.MustBuild(stun.TransactionID, stun.BindingRequest,
		stun.NewUsername(page.Ufrag+":"+own.Ufrag),
		stun.RawAttribute{Type: attrPriority, Value: binary.BigEndian.AppendUint32(nil, priorityPeerRefl)},
		stun.RawAttribute{Type: attrICEControlled, Value: tieBreaker()},
		stun.NewShortTermIntegrity(page.Pwd), stun.Fingerprint)
	return m.TransactionID, m.Raw
}

func tieBreaker() []byte {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	return b
}

// fromPage tells whether b is a check that the page sent to the server's
// candidate, from the connection with this user fragment, or from any if it is
// "": for the server's, and with integrity under its password (RFC 8445 section
// 7.3).
func fromPage(b []byte, ufrag string, own credentials) bool {
	if len(b) > maxMessage || !stun.IsMessage(b) {
		return false
	}
	m := &stun.Message{Raw: append([]byte(nil), b...)}
	if m.Decode() != nil || m.Type != stun.BindingRequest {
		return false
	}
	user, err := m.Get(stun.AttrUsername)
	to, of, _ := strings.Cut(string(user), ":")
	return err == nil && to == own.Ufrag && (ufrag == "" || of == ufrag) && stun.NewShortTermIntegrity(own.Pwd).Check(m) == nil
}

// newReply answers a check of the page that came from an address.
func newReply(check []byte, own credentials, from netip.AddrPort) []byte {
	id := stun.NewTransactionIDSetter(transaction(check[8:20]))
	return stun.MustBuild(id, stun.BindingSuccess, &stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())},
		stun.NewShortTermIntegrity(own.Pwd), stun.Fingerprint).Raw
}

// maxMessage is more than any check or answer of a browser takes, in bytes.
const maxMessage = 1500

// answered returns the transaction that b is an answer to, of whatever outcome.
func answered(b []byte) (id transaction, ok bool) {
	if len(b) < 20 || !stun.IsMessage(b) {
		return id, false
	}
	if typ := binary.BigEndian.Uint16(b); typ != 0x0101 && typ != 0x0111 { // Binding success, Binding error
		return id, false
	}
	return transaction(b[8:20]), true
}

// addressee returns the user fragment of the server that a check is for: the
// part of USERNAME before the colon. It does not allocate.
func addressee(b []byte) ([]byte, bool) {
	if len(b) < 20 || binary.BigEndian.Uint16(b) != 0x0001 { // Binding request
		return nil, false
	}
	for at := 20; at+4 <= len(b); {
		size := int(binary.BigEndian.Uint16(b[at+2:]))
		if at+4+size > len(b) {
			return nil, false
		}
		if binary.BigEndian.Uint16(b[at:]) == uint16(stun.AttrUsername) {
			name := b[at+4 : at+4+size]
			for i, c := range name {
				if c == ':' {
					return name[:i], true
				}
			}
			return nil, false
		}
		at += 4 + (size+3)&^3
	}
	return nil, false
}

// unmap writes an IPv4-mapped IPv6 address as the IPv4 address that it is.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
