package turnsrv

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"sort"
	"sync"
	"time"
)

// portRest is how long a relay port stays unused, if others are free, so that
// late packets for an old allocation do not reach a new one.
const portRest = 30 * time.Second

// errNoPort makes an Allocate fail with 508 (Insufficient Capacity).
var errNoPort = errors.New("every relay port is in use")

// ports is the free list of relay ports, the longest unused first.
type ports struct {
	first uint16

	mu   sync.Mutex
	free []freePort
	is   []bool // by port, whether it is in free
}

type freePort struct {
	port  uint16
	since time.Time // zero for a port not used yet
}

func newPorts(r PortRange) *ports {
	p := &ports{first: r.Min}
	for port := int(r.Min); port <= int(r.Max); port++ {
		p.free = append(p.free, freePort{port: uint16(port)})
		p.is = append(p.is, true)
	}
	return p
}

// take returns a random port among those that have rested, or the one that has
// rested longest.
func (p *ports) take() (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return 0, errNoPort
	}
	if rested := p.rested(time.Now()); rested > 1 {
		i := random(rested)
		p.free[0], p.free[i] = p.free[i], p.free[0] // among rested ones the order does not matter
	}
	return p.remove(0), nil
}

// takeThis takes one port, if it is free.
func (p *ports) takeThis(port uint16) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.has(int(port)) {
		return errNoPort
	}
	p.remove(slices.IndexFunc(p.free, func(f freePort) bool { return f.port == port }))
	return nil
}

// takeEven returns an even port, and if pair is set one whose upper neighbour is
// free too, which it does not take.
func (p *ports) takeEven(pair bool) (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fitting []int // the rested ones if there are any, else the first
	rested := p.rested(time.Now())
	for i, f := range p.free {
		if i >= rested && len(fitting) > 0 {
			break
		}
		if f.port%2 == 0 && (!pair || p.has(int(f.port)+1)) {
			fitting = append(fitting, i)
		}
	}
	if len(fitting) == 0 {
		return 0, errNoPort
	}
	return p.remove(fitting[random(len(fitting))]), nil
}

func (p *ports) has(port int) bool {
	i := port - int(p.first)
	return i >= 0 && i < len(p.is) && p.is[i]
}

// remove takes the port at index i out of the list.
func (p *ports) remove(i int) uint16 {
	port := p.free[i].port
	p.is[port-p.first] = false
	if i == 0 {
		p.free = p.free[1:]
	} else {
		p.free = slices.Delete(p.free, i, i+1)
	}
	return port
}

// random returns a number below n that cannot be guessed.
func random(n int) int {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return int(binary.NativeEndian.Uint64(b[:]) % uint64(n))
}

// rested counts the ports at the front of the list that have rested.
func (p *ports) rested(now time.Time) int {
	return sort.Search(len(p.free), func(i int) bool {
		return !p.free[i].since.IsZero() && now.Sub(p.free[i].since) < portRest
	})
}

// release puts a port back that was taken.
func (p *ports) release(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, freePort{port: port, since: time.Now()})
	p.is[port-p.first] = true
}

// count returns how many ports are free.
func (p *ports) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.free)
}
