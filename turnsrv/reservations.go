package turnsrv

import (
	"crypto/rand"
	"sync"
	"time"
)

// reservationLife is how long a reserved port is kept, RFC 8656 section 7.2.
const reservationLife = 30 * time.Second

// reservations are the ports set aside by EVEN-PORT for a second allocation.
// They stay taken in the free list meanwhile.
type reservations struct {
	mu   sync.Mutex
	held map[[8]byte]*reservation
}

type reservation struct {
	family  byte
	port    uint16
	uncount func() // it counts as an allocation of who reserved it, until it is claimed
	timer   *time.Timer
}

// add keeps a port that was taken from the free list, and returns its token.
// uncount is called when it is claimed, or in time; then release is called, too.
func (r *reservations) add(family byte, port uint16, uncount, release func()) (token [8]byte) {
	_, _ = rand.Read(token[:]) // never fails
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		r.held = make(map[[8]byte]*reservation)
	}
	r.held[token] = &reservation{family: family, port: port, uncount: uncount, timer: time.AfterFunc(reservationLife, func() {
		if r.claim(token) != nil {
			release()
		}
	})}
	return token
}

// find returns what is reserved under token, or nil.
func (r *reservations) find(token [8]byte) *reservation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[token]
}

// claim takes a reservation out; its port is the caller's then.
func (r *reservations) claim(token [8]byte) *reservation {
	r.mu.Lock()
	v := r.held[token]
	delete(r.held, token)
	r.mu.Unlock()
	if v != nil {
		v.timer.Stop()
		v.uncount()
	}
	return v
}

// clear drops every reservation.
func (r *reservations) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.held {
		v.timer.Stop()
	}
	clear(r.held)
}
