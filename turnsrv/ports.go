package turnsrv

import (
	"crypto/rand"
	"errors"
	"math/big"
	"slices"
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
	mu   sync.Mutex
	free []freePort
}

type freePort struct {
	port  uint16
	since time.Time // zero for a port not used yet
}

func newPorts(r PortRange) *ports {
	p := &ports{}
	for port := int(r.Min); port <= int(r.Max); port++ {
		p.free = append(p.free, freePort{port: uint16(port)})
	}
	return p
}

// take returns a random port among those that have rested, or the one that has
// rested longest.
func (p *ports) take() (uint16, error) {
	return p.pick(func(uint16) bool { return true })
}

// takeThis takes one port, if it is free.
func (p *ports) takeThis(port uint16) error {
	_, err := p.pick(func(free uint16) bool { return free == port })
	return err
}

// takeEven returns an even port, and if pair is set one whose upper neighbour is
// free too, which it does not take.
func (p *ports) takeEven(pair bool) (uint16, error) {
	return p.pick(func(port uint16) bool {
		return port%2 == 0 && (!pair || slices.ContainsFunc(p.free, func(f freePort) bool { return f.port == port+1 }))
	})
}

// pick takes a port that fits.
func (p *ports) pick(fits func(port uint16) bool) (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fitting []int // by index, the rested ones if there are any, else the first
	rested := p.rested(time.Now())
	for i, f := range p.free {
		if i >= rested && len(fitting) > 0 {
			break
		}
		if fits(f.port) {
			fitting = append(fitting, i)
		}
	}
	if len(fitting) == 0 {
		return 0, errNoPort
	}
	n, err := rand.Int(rand.Reader, big.NewInt(int64(len(fitting))))
	if err != nil {
		return 0, err
	}
	i := fitting[n.Int64()]
	port := p.free[i].port
	p.free = slices.Delete(p.free, i, i+1)
	return port, nil
}

// rested counts the ports at the front of the list that have rested.
func (p *ports) rested(now time.Time) int {
	for i, f := range p.free {
		if !f.since.IsZero() && now.Sub(f.since) < portRest {
			return i
		}
	}
	return len(p.free)
}

// release puts a port back that take returned.
func (p *ports) release(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, freePort{port: port, since: time.Now()})
}

// count returns how many ports are free.
func (p *ports) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.free)
}
