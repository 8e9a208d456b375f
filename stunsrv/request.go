package stunsrv

import (
	"encoding/binary"
	"hash/crc32"
)

// Message types, RFC 8489 section 5: the method Binding in its four classes.
const (
	bindingRequest    = 0x0001
	bindingIndication = 0x0011
	bindingSuccess    = 0x0101
	bindingError      = 0x0111
)

// Attribute types, RFC 8489 section 18.3, RFC 5780 section 7, and two of RFC
// 3489 section 11.2 for its clients.
const (
	attrMappedAddress     = 0x0001
	attrChangeRequest     = 0x0003
	attrSourceAddress     = 0x0004
	attrChangedAddress    = 0x0005
	attrUsername          = 0x0006
	attrMessageIntegrity  = 0x0008
	attrErrorCode         = 0x0009
	attrUnknownAttributes = 0x000A
	attrRealm             = 0x0014
	attrNonce             = 0x0015
	attrIntegritySHA256   = 0x001C
	attrXORMappedAddress  = 0x0020
	attrPadding           = 0x0026
	attrResponsePort      = 0x0027
	attrFingerprint       = 0x8028
	attrResponseOrigin    = 0x802B
	attrOtherAddress      = 0x802C
)

// attrNattestToken is NATTEST-TOKEN, of the range for everybody's use (RFC 8489
// section 18.3 gives it out first come, first served; this one is not
// registered). A server that does not know it ignores it.
const attrNattestToken = 0xC07E

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
// whatever class, judged by its header alone. Only requests are answered. A
// message without the magic cookie is one if it can be a request of RFC 3489.
func IsBinding(b []byte) bool {
	if len(b) < headerSize {
		return false
	}
	switch binary.BigEndian.Uint16(b) {
	case bindingRequest:
		return !isClassic(b) || headerSize+int(binary.BigEndian.Uint16(b[2:])) == len(b)
	case bindingIndication, bindingSuccess, bindingError:
		return !isClassic(b)
	}
	return false
}

// isClassic reports whether a message is of RFC 3489, which knew no cookie.
func isClassic(b []byte) bool { return binary.BigEndian.Uint32(b[4:]) != magicCookie }

// request is what Respond needs to know of a Binding request.
type request struct {
	classic     bool // of RFC 3489
	fingerprint bool
	malformed   bool // the value of an attribute is

	changes      bool // CHANGE-REQUEST
	change       Change
	redirected   bool // RESPONSE-PORT
	responsePort uint16
	padded       bool // PADDING
	padding      int  // bytes

	token        []byte
	unknown      [maxUnknown]uint16
	unknownCount int
}

// refuse lists an attribute for the 420.
func (r *request) refuse(attr uint16) {
	if r.unknownCount < maxUnknown {
		r.unknown[r.unknownCount] = attr
		r.unknownCount++
	}
}

// parse walks the attributes. It reports false for a message whose lengths do
// not add up or whose FINGERPRINT is wrong. What follows MESSAGE-INTEGRITY,
// other than FINGERPRINT, is ignored (RFC 8489 section 14.5).
func parse(b []byte) (r request, ok bool) {
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length%4 != 0 || headerSize+length != len(b) {
		return r, false
	}
	r.classic = isClassic(b)
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
		case attr == attrFingerprint && !r.classic:
			// It is the last attribute, RFC 8489 section 14.7.
			if size != 4 || next != len(b) ||
				binary.BigEndian.Uint32(b[value:]) != crc32.ChecksumIEEE(b[:at])^fingerprintXOR {
				return r, false
			}
			r.fingerprint = true
		case protected:
		case attr == attrMessageIntegrity || attr == attrIntegritySHA256:
			protected = true
		default:
			r.note(attr, b[value:value+size])
		}
		at = next
	}
	return r, true
}

// note keeps what an attribute says. Of one that is there twice the first
// counts (RFC 8489 section 14). Credentials are not asked for and are ignored.
func (r *request) note(attr uint16, v []byte) {
	switch attr {
	case attrUsername, attrRealm, attrNonce:
	case attrChangeRequest:
		if len(v) != 4 {
			r.changes, r.malformed = true, true
		} else if !r.changes {
			r.changes, r.change = true, Change(v[3]>>1)&(ChangePort|ChangeIP)
		}
	case attrResponsePort:
		// The length is 2 in the text of RFC 5780 section 7.5, and 4 in its
		// figure; clients send either.
		if len(v) != 2 && len(v) != 4 || binary.BigEndian.Uint16(v) == 0 {
			r.redirected, r.malformed = true, true
		} else if !r.redirected {
			r.redirected, r.responsePort = true, binary.BigEndian.Uint16(v)
		}
	case attrPadding:
		if !r.padded {
			r.padded, r.padding = true, len(v)
		}
	case attrNattestToken:
		if r.token == nil {
			r.token = v
		}
	default:
		if attr < comprehensionOptional {
			r.refuse(attr)
		}
	}
}
