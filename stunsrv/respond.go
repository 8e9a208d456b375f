// Package stunsrv is a STUN server (RFC 8489): it tells a client the address
// that its Binding request came from, its server-reflexive address.
//
// Respond decides, without I/O, what a request is answered with. Serve answers
// on a socket of its own; Wrap answers on a socket that is shared with TURN and
// passes everything else on to whoever reads from it.
//
// A server with one address must not pretend to have an alternate (RFC 5780
// section 6): CHANGE-REQUEST is refused with 420, so that a NAT probe never
// takes an answer from the primary address for one from the alternate.
package stunsrv

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// MaxResponse is the longest response, in bytes: an error with every attribute
// that it can list.
const MaxResponse = headerSize + 8 + 4 + 2*maxUnknown + 8

// Message types, RFC 8489 section 5: the method Binding in its four classes.
const (
	bindingRequest    = 0x0001
	bindingIndication = 0x0011
	bindingSuccess    = 0x0101
	bindingError      = 0x0111
)

// Attribute types, RFC 8489 section 18.3.
const (
	attrUsername          = 0x0006
	attrMessageIntegrity  = 0x0008
	attrErrorCode         = 0x0009
	attrUnknownAttributes = 0x000A
	attrRealm             = 0x0014
	attrNonce             = 0x0015
	attrIntegritySHA256   = 0x001C
	attrXORMappedAddress  = 0x0020
	attrFingerprint       = 0x8028
)

const (
	headerSize     = 20
	magicCookie    = 0x2112A442
	fingerprintXOR = 0x5354554E
	// comprehensionOptional is the first attribute type that a server may ignore.
	comprehensionOptional = 0x8000
	// maxUnknown bounds the attributes listed in a 420; RFC 8489 section 14.9
	// asks for all of them, no client sends as many.
	maxUnknown = 16
)

// IsBinding reports whether b is a STUN message of the method Binding, of
// whatever class, judged by its header alone. Only requests are answered.
func IsBinding(b []byte) bool {
	if len(b) < headerSize || binary.BigEndian.Uint32(b[4:]) != magicCookie {
		return false
	}
	switch binary.BigEndian.Uint16(b) {
	case bindingRequest, bindingIndication, bindingSuccess, bindingError:
		return true
	}
	return false
}

// Respond appends to dst the response to a datagram that came from the address
// from, and returns the extended slice. It returns dst as it was if there is
// nothing to answer: the datagram is no Binding request, is malformed, or its
// FINGERPRINT is wrong (RFC 8489 section 6.3). Attributes that a server must
// understand and this one does not are answered with 420 (section 6.3.1).
//
// Respond does not allocate if dst has room for MaxResponse bytes.
func Respond(dst, request []byte, from netip.AddrPort) []byte {
	if !IsBinding(request) || binary.BigEndian.Uint16(request) != bindingRequest {
		return dst
	}
	r, ok := parse(request)
	if !ok || !from.IsValid() {
		return dst
	}
	start := len(dst)
	if r.unknownCount > 0 {
		dst = appendHeader(dst, bindingError, request)
		dst = append(dst, 0, attrErrorCode, 0, 4, 0, 0, 4, 20) // 420, no reason phrase
		dst = appendUnknown(dst, r.unknown[:r.unknownCount])
	} else {
		dst = appendHeader(dst, bindingSuccess, request)
		dst = appendXORMapped(dst, request, from)
	}
	if r.fingerprint {
		dst = append(dst, attrFingerprint>>8, attrFingerprint&0xFF, 0, 4)
		setLength(dst[start:], 4)
		dst = binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:len(dst)-4])^fingerprintXOR)
	}
	setLength(dst[start:], 0)
	return dst
}

// request is what Respond needs to know of a Binding request.
type request struct {
	fingerprint  bool
	unknown      [maxUnknown]uint16
	unknownCount int
}

// parse walks the attributes. It reports false for a message whose lengths do
// not add up or whose FINGERPRINT is wrong. What follows MESSAGE-INTEGRITY,
// other than FINGERPRINT, is ignored (RFC 8489 section 14.5).
func parse(b []byte) (r request, ok bool) {
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length%4 != 0 || headerSize+length != len(b) {
		return r, false
	}
	protected := false
	for at := headerSize; at < len(b); {
		if len(b)-at < 4 {
			return r, false
		}
		attr, size := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
		value, next := at+4, at+4+(size+3)&^3
		if next > len(b) {
			return r, false
		}
		switch {
		case attr == attrFingerprint:
			// It is the last attribute, RFC 8489 section 14.7.
			if size != 4 || next != len(b) ||
				binary.BigEndian.Uint32(b[value:]) != crc32.ChecksumIEEE(b[:at])^fingerprintXOR {
				return r, false
			}
			r.fingerprint = true
		case protected:
		case attr == attrMessageIntegrity || attr == attrIntegritySHA256:
			protected = true
		case attr < comprehensionOptional && !known(attr) && r.unknownCount < maxUnknown:
			r.unknown[r.unknownCount] = attr
			r.unknownCount++
		}
		at = next
	}
	return r, true
}

// known reports whether attr may be in a Binding request. Credentials are not
// asked for and are ignored.
func known(attr uint16) bool {
	switch attr {
	case attrUsername, attrRealm, attrNonce:
		return true
	}
	return false
}

func appendHeader(dst []byte, typ uint16, request []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, typ)
	dst = append(dst, 0, 0)
	return append(dst, request[4:headerSize]...) // magic cookie and transaction id
}

// setLength writes the length of message b, with extra bytes still to come.
func setLength(b []byte, extra int) {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-headerSize+extra))
}

// appendXORMapped appends XOR-MAPPED-ADDRESS, RFC 8489 section 14.2.
func appendXORMapped(dst, request []byte, from netip.AddrPort) []byte {
	addr := from.Addr().Unmap()
	family, size := byte(1), 4
	if addr.Is6() {
		family, size = 2, 16
	}
	dst = append(dst, 0, attrXORMappedAddress, 0, byte(4+size), 0, family)
	dst = binary.BigEndian.AppendUint16(dst, from.Port()^(magicCookie>>16))
	pad := request[4:headerSize] // magic cookie and transaction id: 16 bytes
	if addr.Is4() {
		ip := addr.As4()
		for i, c := range ip {
			dst = append(dst, c^pad[i])
		}
		return dst
	}
	ip := addr.As16()
	for i, c := range ip {
		dst = append(dst, c^pad[i])
	}
	return dst
}

func appendUnknown(dst []byte, attrs []uint16) []byte {
	dst = append(dst, 0, attrUnknownAttributes, 0, byte(2*len(attrs)))
	for _, attr := range attrs {
		dst = binary.BigEndian.AppendUint16(dst, attr)
	}
	if len(attrs)%2 == 1 {
		dst = append(dst, 0, 0)
	}
	return dst
}
