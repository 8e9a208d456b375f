package nattest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// packets are what one test sends through relays: 12 bytes that nobody else can
// know, a number of 4 bytes, and zeros.
type packets [12]byte

// packetSize is the least size of one.
const packetSize = 16

func newPackets() (p packets) {
	_, _ = rand.Read(p[:]) // never fails (Go 1.24)
	return p
}

// packet is number n, of size bytes.
func (p packets) packet(n, size int) []byte {
	b := make([]byte, max(size, packetSize))
	copy(b, p[:])
	binary.BigEndian.PutUint32(b[len(p):], uint32(n))
	return b
}

// number reads a packet of these; ok is false for every other one, and for one
// that came in another size than it was sent with.
func (p packets) number(b []byte, size int) (n int, ok bool) {
	if len(b) != max(size, packetSize) || packets(b[:len(p)]) != p {
		return 0, false
	}
	return int(binary.BigEndian.Uint32(b[len(p):])), true
}

// cross sends a packet from one allocation to the other, again until it
// arrives, and returns how long it took.
func cross(ctx context.Context, from, to *allocation) (time.Duration, error) {
	test := newPackets()
	var sent [len(turnSendAt)]time.Time
	var took time.Duration
	err := repeat(ctx, from, to, func(n int) ([]byte, error) {
		sent[n] = time.Now()
		return nil, from.send(to.relayed, test.packet(n, 0))
	}, func(raw []byte) bool {
		n, ok := to.from(raw, test, 0, from.relayed.Addr())
		if ok = ok && n < len(sent) && !sent[n].IsZero(); ok {
			took = time.Since(sent[n])
		}
		return ok
	})
	return took, err
}

// from reads a packet of a test that came from one of these addresses. A NAT
// may have changed the port.
func (d *dialog) from(raw []byte, test packets, size int, addrs ...netip.Addr) (n int, ok bool) {
	peer, payload, ok := d.received(raw)
	if !ok || !slices.Contains(addrs, peer.Addr()) {
		return 0, false
	}
	return test.number(payload, size)
}
