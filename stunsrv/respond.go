// Package stunsrv is a STUN server (RFC 8489) that helps to discover NAT
// behavior (RFC 5780): it tells a client the address that its Binding request
// came from, its server-reflexive address, and answers from another address or
// port where it is asked to and has one.
//
// Respond decides, without I/O, what a request is answered with, from which
// socket and to where. Serve answers on a socket of its own; Wrap answers on a
// socket that is shared with TURN and passes everything else on to whoever
// reads from it.
//
// A server with one address must not pretend to have an alternate (RFC 5780
// section 6): CHANGE-REQUEST is refused with 420, so that a NAT probe never
// takes an answer from the primary address for one from the alternate. Who
// shows a token of the server (see Tokens) knows what it asks for, and may have
// the answer from the other port.
package stunsrv

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// MaxResponse is the longest response, in bytes: a success over IPv6 with
// every attribute.
const MaxResponse = headerSize + 4*(4+20) + 4 + maxPadding + 8

// maxPadding is the longest PADDING of a response: one that no Ethernet carries
// without fragments (RFC 5780 section 7.6).
const maxPadding = 1500

// Change says what of the source of a response differs from the address that
// the request was sent to. It is the flags of CHANGE-REQUEST (RFC 5780 section
// 7.2), shifted.
type Change uint8

// The flags of Change.
const (
	ChangePort Change = 1 << iota
	ChangeIP
)

// Site is where a socket is, as clients see it, and its alternates: the index
// is what they differ in. Site[0] is the socket's own address,
// Site[ChangePort|ChangeIP] the OTHER-ADDRESS of RFC 5780 section 7.4. The zero
// AddrPort stands for one that does not exist.
type Site [4]netip.AddrPort

// complete reports whether there are two addresses with two ports each, which
// is what RFC 5780 section 6 asks of a server.
func (s *Site) complete() bool {
	return s[ChangePort].IsValid() && s[ChangeIP].IsValid() && s[ChangePort|ChangeIP].IsValid()
}

// Response is what Respond decides.
type Response struct {
	Message []byte         // empty: the request is not answered
	Via     Change         // which socket sends it, seen from the one that was asked
	To      netip.AddrPort // where it goes: always to the address that the request came from
	Token   []byte         // the part of the request that is its token, if that is valid
}

// Respond appends to dst the response to a datagram that came from the address
// from to the socket at site. The message is empty if there is nothing to
// answer: the datagram is no Binding request, is malformed, or its FINGERPRINT
// is wrong (RFC 8489 section 6.3). Attributes that a server must understand and
// this one does not, or does not at this site, are answered with 420 (section
// 6.3.1), those that contradict each other with 400.
//
// valid tells whether a NATTEST-TOKEN is one of this server's; nil: none is.
//
// Respond does not allocate if dst has room for MaxResponse bytes.
func Respond(dst, datagram []byte, from netip.AddrPort, site *Site, valid func(token []byte) bool) Response {
	if !IsBinding(datagram) || binary.BigEndian.Uint16(datagram) != bindingRequest || !from.IsValid() {
		return Response{}
	}
	r, ok := parse(datagram)
	if !ok {
		return Response{}
	}
	if len(r.token) > 0 && (valid == nil || !valid(r.token)) {
		r.token = nil
	}
	a := Response{To: from, Token: r.token}
	start := len(dst)
	switch code := r.judge(site); code {
	case codeUnknownAttribute:
		dst = appendError(dst, datagram, code)
		dst = appendUnknown(dst, r.unknown[:r.unknownCount])
	case codeBadRequest:
		dst = appendError(dst, datagram, code)
	default:
		a.Via = r.change
		if r.redirected {
			a.To = netip.AddrPortFrom(from.Addr(), r.responsePort)
		}
		dst = appendSuccess(dst, datagram, &r, from, site)
	}
	if r.fingerprint {
		dst = append(dst, attrFingerprint>>8, attrFingerprint&0xFF, 0, 4)
		setLength(dst[start:], 4)
		dst = binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:len(dst)-4])^fingerprintXOR)
	}
	setLength(dst[start:], 0)
	a.Message = dst
	return a
}

// The codes of RFC 8489 section 14.8 that are used.
const (
	codeBadRequest       = 400
	codeUnknownAttribute = 420
	codeServerError      = 500
)

// judge returns the error that the request is answered with, 0 if none. What
// RFC 5780 adds is only understood by a server with two addresses, or, as far
// as that goes with one, for who has a token.
func (r *request) judge(site *Site) int {
	behavior := site.complete() || len(r.token) > 0
	if r.changes && !(behavior && site[r.change].IsValid()) {
		r.refuse(attrChangeRequest)
	}
	if r.redirected && !behavior {
		r.refuse(attrResponsePort)
	}
	if r.padded && !behavior {
		r.refuse(attrPadding)
	}
	switch {
	case r.unknownCount > 0:
		return codeUnknownAttribute
	case r.malformed, r.padded && r.redirected: // RFC 5780 section 6.1
		return codeBadRequest
	}
	return 0
}

// appendSuccess appends a success with the attributes of RFC 5780 section 6.1,
// or of RFC 3489 section 8.1 for a client of that.
func appendSuccess(dst, datagram []byte, r *request, from netip.AddrPort, site *Site) []byte {
	dst = appendHeader(dst, bindingSuccess, datagram)
	dst = appendAddress(dst, attrMappedAddress, from)
	origin, other := uint16(attrResponseOrigin), uint16(attrOtherAddress)
	if r.classic {
		origin, other = attrSourceAddress, attrChangedAddress
	} else {
		dst = appendXORMapped(dst, datagram, from)
	}
	if site[r.change].IsValid() {
		dst = appendAddress(dst, origin, site[r.change])
	}
	if site.complete() {
		dst = appendAddress(dst, other, site[ChangePort|ChangeIP])
	}
	if r.padded {
		n := min(r.padding, maxPadding) &^ 3
		dst = append(dst, 0, attrPadding, byte(n>>8), byte(n))
		dst = append(dst, zeros[:n]...)
	}
	return dst
}
