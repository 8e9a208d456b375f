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

// take returns a free port: the one wanted, or if that is 0 a random one among
// those that have rested, or the one that has rested longest.
func (p *ports) take(want uint16) (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pick, err := p.pick(want)
	if err != nil {
		return 0, err
	}
	port := p.free[pick].port
	copy(p.free[1:pick+1], p.free[:pick]) // keep the order of the others
	p.free = p.free[1:]
	return port, nil
}

func (p *ports) pick(want uint16) (int, error) {
	if want != 0 {
		i := slices.IndexFunc(p.free, func(f freePort) bool { return f.port == want })
		if i < 0 {
			return 0, errNoPort
		}
		return i, nil
	}
	switch rested := p.rested(time.Now()); {
	case len(p.free) == 0:
		return 0, errNoPort
	case rested <= 1:
		return 0, nil
	default:
		n, err := rand.Int(rand.Reader, big.NewInt(int64(rested)))
		return int(n.Int64()), err
	}
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
