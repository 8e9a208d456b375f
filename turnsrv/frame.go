package turnsrv

import (
	"encoding/binary"
	"errors"
)

const (
	stunHeader        = 20
	channelDataHeader = 4
	magicCookie       = 0x2112A442

	// maxFrame is the longest frame accepted on a stream, padding included. It
	// stays below the size at which pion drops a message as possibly cut.
	maxFrame = 1596
)

var (
	errFrameKind   = errors.New("neither a STUN message nor ChannelData")
	errFrameLength = errors.New("STUN message length is not a multiple of 4")
	errFrameSize   = errors.New("longer than 1596 bytes")
	errFrameCookie = errors.New("no STUN magic cookie")
	errCrowd       = errors.New("the address has as many connections as MAX_CONNECTIONS_PER_IP lets it")
	errFrameFirst  = errors.New("ChannelData before any STUN message")
)

// frameSize returns how many bytes of a stream the frame takes that begins with
// the 4 bytes in head: a STUN message (RFC 8489 section 5) or ChannelData,
// padded to a multiple of 4 on streams (RFC 8656 section 12.5). All arithmetic
// is on int: lengths near 65535 must not wrap around.
func frameSize(head []byte) (int, error) {
	length := int(binary.BigEndian.Uint16(head[2:4]))
	size := 0
	switch {
	case isSTUN(head):
		if length%4 != 0 {
			return 0, errFrameLength
		}
		size = stunHeader + length
	case isChannelData(head):
		size = channelDataHeader + (length+3)&^3
	default:
		return 0, errFrameKind
	}
	if size > maxFrame {
		return 0, errFrameSize
	}
	return size, nil
}

// checkFrame judges a whole frame. The first one of a stream must be STUN:
// nothing can be sent on a channel before an Allocate.
func checkFrame(frame []byte, first bool) error {
	switch {
	case isChannelData(frame) && first:
		return errFrameFirst
	case isSTUN(frame) && binary.BigEndian.Uint32(frame[4:8]) != magicCookie:
		return errFrameCookie
	}
	return nil
}

// isSTUN and isChannelData tell the two apart by the first two bits: 0b00 for
// STUN, 0b01 for channel numbers (RFC 5766 section 11; RFC 8656 section 12 has
// new clients use only those below 0x5000).
func isSTUN(b []byte) bool        { return len(b) > 0 && b[0]>>6 == 0 }
func isChannelData(b []byte) bool { return len(b) > 0 && b[0]>>6 == 1 }
