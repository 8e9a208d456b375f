package front

import (
	"encoding/binary"
	"sync/atomic"
)

// Content types of DTLS records (RFC 6347, section 4.3.1) and what surrounds them.
const (
	recordCipherSpec = 20
	recordHandshake  = 22
	recordHeader     = 13 // bytes
	handshakeHeader  = 12 // bytes
	clientHello      = 1  // type of a handshake message
)

// handshakeBytes is how many bytes of a handshake one client may send, with
// everything that it repeats. A handshake without a certificate of the client
// has less than two thousand.
const handshakeBytes = 32 << 10

// recordGuard keeps from pion's DTLS what would harm it: records that anybody
// could have sent in the client's name and that end a connection (alerts and
// data that are not encrypted), and handshake messages without end, which it
// would keep in memory.
type recordGuard struct {
	established atomic.Bool
	spent       int // bytes of the handshake so far
}

// admits tells whether a whole datagram may pass.
func (g *recordGuard) admits(b []byte) bool {
	for size := 0; len(b) > 0; b = b[size:] {
		if len(b) < recordHeader {
			return false
		}
		epoch, length := binary.BigEndian.Uint16(b[3:]), int(binary.BigEndian.Uint16(b[11:]))
		if size = recordHeader + length; size > len(b) || epoch > 1 {
			return false
		}
		if epoch == 0 {
			switch b[0] {
			case recordHandshake:
			case recordCipherSpec:
				if length != 1 || b[recordHeader] != 1 {
					return false
				}
			default:
				return false
			}
		}
		if epoch == 0 || b[0] == recordHandshake || !g.established.Load() {
			if g.spent += size; g.spent > handshakeBytes {
				return false
			}
		}
	}
	return true
}

// isClientHello tells whether b begins a handshake: an unencrypted record with
// a ClientHello (RFC 6347, section 4.3.2).
func isClientHello(b []byte) bool {
	return len(b) > recordHeader+handshakeHeader && b[0] == recordHandshake && b[1] == 254 && b[3] == 0 && b[4] == 0 &&
		b[recordHeader] == clientHello
}
