package turnsrv

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
)

// maxReadFailures in a row make a socket useless. One is no reason to end an
// allocation or a listener, as pion would.
const maxReadFailures = 64

// relay is the relay socket of one allocation. Packets do not go through pion:
// send and ReadFrom pass them between peers and client, check every peer where
// a packet leaves, whatever was permitted before, and count.
type relay struct {
	socket
	peers             *Peers
	session           *session // whose relay it is, and
	inside            *inside  // the others of its family; both set before anything is relayed
	toClient, toPeers buckets

	mu     sync.Mutex
	closed bool     // pion has closed the allocation
	ended  []func() // to be called then

	in, out traffic
	denied  atomic.Uint64 // packets not sent to a denied peer
	over    atomic.Uint64 // packets beyond a bandwidth limit
}

// traffic counts packets and their payload bytes.
type traffic struct{ packets, bytes atomic.Uint64 }

func (t *traffic) add(n int) {
	t.packets.Add(1)
	t.bytes.Add(uint64(n))
}

// send sends payload to a peer. What a peer may not get, or the system does not
// take, is lost, as on any network.
func (r *relay) send(payload []byte, peer netip.AddrPort) {
	switch {
	case r.peers.Send(peer) != "":
		r.denied.Add(1)
		return
	case !r.toPeers.allow(len(payload)):
		r.over.Add(1)
		return
	}
	r.out.add(len(payload))
	if other := r.inside.find(peer); other != nil {
		other.deliverCopy(payload, r.session.Relay)
		return
	}
	_, _ = r.WriteToUDPAddrPort(payload, peer)
}

// ReadFrom delivers what peers send to the client of the session, and returns
// only when the socket is closed, or fails for good: pion, which calls it, then
// deletes the allocation. A packet that fills the buffer has been cut and is
// dropped.
func (r *relay) ReadFrom(p []byte) (int, net.Addr, error) {
	for failures := 0; ; {
		n, from, err := r.ReadFromUDPAddrPort(p[channelDataHeader:]) // room for the header in front
		switch {
		case errors.Is(err, net.ErrClosed):
			if r.isClosed() {
				// pion has deleted the allocation, and would now delete what the
				// five-tuple has got since.
				runtime.Goexit()
			}
			return 0, nil, err
		case err != nil:
			if failures++; failures == maxReadFailures {
				return 0, nil, err
			}
		case n < len(p)-2*channelDataHeader: // and for the padding behind
			failures = 0
			r.session.deliver(p[:channelDataHeader+n], unmap(from))
		}
	}
}

// Close is called by pion at the very end of an allocation.
func (r *relay) Close() error {
	r.mu.Lock()
	ended := r.ended
	r.closed, r.ended = true, nil
	r.mu.Unlock()
	err := r.socket.Close()
	for _, f := range ended {
		f()
	}
	if errors.Is(err, net.ErrClosed) { // the session closed it to end the allocation
		return nil
	}
	return err
}

func (r *relay) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
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
