package turnsrv

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// maxReadFailures in a row make a socket useless. One is no reason to end an
// allocation or a listener, as pion would.
const maxReadFailures = 64

// relay is the relay socket of one allocation: it counts, and it checks every
// peer again where the packet leaves, whatever was permitted before.
type relay struct {
	net.PacketConn
	peers *Peers

	mu     sync.Mutex
	closed bool     // pion has closed the allocation
	ended  []func() // to be called then

	session           *session // whose relay it is, and
	inside            *inside  // the others of its family; both set before anything is relayed
	toClient, toPeers buckets

	in, out traffic
	denied  atomic.Uint64 // packets not sent to a denied peer
	over    atomic.Uint64 // packets beyond a bandwidth limit
}

// limit sets the buckets of both directions, before anything is relayed.
func (r *relay) limit(toClient, toPeers buckets) { r.toClient, r.toPeers = toClient, toPeers }

// traffic counts packets and their payload bytes.
type traffic struct{ packets, bytes atomic.Uint64 }

func (t *traffic) add(n int) {
	t.packets.Add(1)
	t.bytes.Add(uint64(n))
}

// WriteTo sends p to a peer. What a peer may not get, or the system does not
// take, is lost, as on any network: an error would only be formatted and dropped.
func (r *relay) WriteTo(p []byte, to net.Addr) (int, error) {
	peer := addrPort(to)
	if r.peers.Send(peer) != "" {
		r.denied.Add(1)
		return len(p), nil
	}
	if !r.toPeers.allow(len(p)) {
		r.over.Add(1)
		return len(p), nil
	}
	r.out.add(len(p))
	if s := r.session; s != nil && r.inside != nil {
		if other := r.inside.find(peer); other != nil {
			other.deliver(p, s.Relay)
			return len(p), nil
		}
	}
	_, _ = r.PacketConn.WriteTo(p, to)
	return len(p), nil
}

// ReadFrom returns the next packet of a peer. One that fills the buffer has
// been cut and is dropped.
func (r *relay) ReadFrom(p []byte) (int, net.Addr, error) {
	for failures := 0; ; {
		n, from, err := r.PacketConn.ReadFrom(p)
		switch {
		case errors.Is(err, net.ErrClosed):
			return 0, nil, err
		case err != nil:
			if failures++; failures == maxReadFailures {
				return 0, nil, err
			}
			continue
		case n == len(p):
			continue
		case !r.toClient.allow(n):
			r.over.Add(1)
			continue
		}
		r.in.add(n)
		return n, from, nil
	}
}

// Close is called by pion at the very end of an allocation.
func (r *relay) Close() error {
	err := r.PacketConn.Close()
	r.mu.Lock()
	ended := r.ended
	r.closed, r.ended = true, nil
	r.mu.Unlock()
	for _, f := range ended {
		f()
	}
	if errors.Is(err, net.ErrClosed) { // the session closed it to end the allocation
		return nil
	}
	return err
}

// whenEnded arranges for f to be called when pion has closed the allocation,
// at once if it has done so already.
func (r *relay) whenEnded(f func()) {
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.ended = append(r.ended, f)
	}
	r.mu.Unlock()
	if closed {
		f()
	}
}

// addrPort returns the IP address and port of a, unmapped, or the zero AddrPort.
func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
