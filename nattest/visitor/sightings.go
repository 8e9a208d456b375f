package visitor

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// sightingSlots bounds the memory of sightings, at 8 bytes each.
const sightingSlots = 1 << 16

// sightings remembers which addresses Binding requests lately came from, and to
// which endpoint. It keeps no list, so that a flood costs neither memory nor
// time: a sighting is hashed with a secret seed into one slot, which holds a
// part of the hash and the time, and the next one in the same slot replaces it.
// A flood so makes it forget, never remember what was not. It is safe for
// concurrent use, takes no lock and does not allocate.
type sightings struct {
	start time.Time
	seed  maphash.Seed
	slots [sightingSlots]atomic.Uint64 // hash in the upper half, milliseconds since start + 1 in the lower
}

func newSightings() *sightings { return &sightings{start: time.Now(), seed: maphash.MakeSeed()} }

// add notes that from sent a Binding request to endpoint at.
func (s *sightings) add(from, at netip.AddrPort) {
	now := uint64(time.Since(s.start)/time.Millisecond) + 1
	for _, who := range [...]netip.AddrPort{from, anyPort(from.Addr())} {
		slot, mark := s.slot(who, at)
		slot.Store(mark | now&(1<<32-1))
	}
}

// anyPort stands for an address, whatever the port.
func anyPort(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, 0) }

// seen tells whether from, or anyPort, sent a Binding request to endpoint at
// within age.
func (s *sightings) seen(from, at netip.AddrPort, age time.Duration) bool {
	ago, ok := s.last(from, at)
	return ok && ago <= age
}

// last tells how long ago from, or anyPort, sent its newest Binding request to
// endpoint at.
func (s *sightings) last(from, at netip.AddrPort) (ago time.Duration, ok bool) {
	now := uint32(time.Since(s.start)/time.Millisecond) + 1
	slot, mark := s.slot(from, at)
	v := slot.Load()
	return time.Duration(now-uint32(v)) * time.Millisecond, v != 0 && v>>32 == mark>>32
}

func (s *sightings) slot(from, at netip.AddrPort) (*atomic.Uint64, uint64) {
	var key [36]byte
	a, b := from.Addr().As16(), at.Addr().As16()
	copy(key[:], a[:])
	copy(key[16:], b[:])
	binary.BigEndian.PutUint16(key[32:], from.Port())
	binary.BigEndian.PutUint16(key[34:], at.Port())
	h := maphash.Bytes(s.seed, key[:])
	return &s.slots[h%sightingSlots], h &^ (1<<32 - 1)
}
