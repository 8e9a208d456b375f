package stunsrv

import (
	"encoding/binary"
	"net/netip"
)

// zeros is what padding is made of.
var zeros [maxPadding]byte

func appendHeader(dst []byte, typ uint16, request []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, typ)
	dst = append(dst, 0, 0)
	return append(dst, request[4:headerSize]...) // magic cookie and transaction id
}

// setLength writes the length of message b, with extra bytes still to come.
func setLength(b []byte, extra int) {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-headerSize+extra))
}

// appendError appends an error response without a reason phrase, RFC 8489
// section 14.8.
func appendError(dst, request []byte, code int) []byte {
	dst = appendHeader(dst, bindingError, request)
	return append(dst, 0, attrErrorCode, 0, 4, 0, 0, byte(code/100), byte(code%100))
}

// appendAddress appends an attribute of the form of MAPPED-ADDRESS, RFC 8489
// section 14.1.
func appendAddress(dst []byte, attr uint16, addr netip.AddrPort) []byte {
	return appendMasked(dst, attr, addr, zeros[:16])
}

// appendXORMapped appends XOR-MAPPED-ADDRESS, RFC 8489 section 14.2.
func appendXORMapped(dst, request []byte, from netip.AddrPort) []byte {
	return appendMasked(dst, attrXORMappedAddress, from, request[4:headerSize])
}

// appendMasked appends an address attribute, the port and the address masked by
// the first bytes of mask, which are 16.
func appendMasked(dst []byte, attr uint16, at netip.AddrPort, mask []byte) []byte {
	addr := at.Addr().Unmap()
	ip, family, size := addr.As16(), byte(1), 4
	bytes := ip[12:]
	if addr.Is6() {
		family, size, bytes = 2, 16, ip[:]
	}
	dst = binary.BigEndian.AppendUint16(dst, attr)
	dst = append(dst, 0, byte(4+size), 0, family)
	dst = binary.BigEndian.AppendUint16(dst, at.Port()^binary.BigEndian.Uint16(mask))
	for i, c := range bytes {
		dst = append(dst, c^mask[i])
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
