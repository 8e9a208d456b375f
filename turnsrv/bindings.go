package turnsrv

import (
	"net"
	"net/netip"
	"sync"
)

// channels are the channels of a session, told by pion's events.
type channels struct {
	mu     sync.RWMutex
	peer   map[uint16]netip.AddrPort
	number map[netip.AddrPort]uint16
}

// of returns the channel that is bound to peer.
func (c *channels) of(peer netip.AddrPort) (channel uint16, bound bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	channel, bound = c.number[peer]
	return channel, bound
}

// to returns the peer that a channel is bound to.
func (c *channels) to(channel uint16) (peer netip.AddrPort, bound bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	peer, bound = c.peer[channel]
	return peer, bound
}

// free reports whether a channel may be bound to peer: both are unbound, or
// bound to each other.
func (c *channels) free(channel uint16, peer netip.AddrPort) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, taken := c.peer[channel]
	n, reached := c.number[peer]
	return !taken && !reached || taken && reached && p == peer && n == channel
}

// with returns how many channels there are with one more.
func (c *channels) with(channel uint16) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, bound := c.peer[channel]; bound {
		return len(c.peer)
	}
	return len(c.peer) + 1
}

func (c *channels) bind(channel uint16, peer netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peer == nil {
		c.peer, c.number = make(map[uint16]netip.AddrPort), make(map[netip.AddrPort]uint16)
	}
	c.peer[channel], c.number[peer] = peer, channel
}

func (c *channels) unbind(channel uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.number, c.peer[channel])
	delete(c.peer, channel)
}

// permissions are the addresses that a session has permissions for.
type permissions struct {
	mu    sync.RWMutex
	peers map[netip.Addr]bool
}

func (p *permissions) has(peer netip.Addr) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.peers[peer]
}

// with returns how many permissions there are with those for peers.
func (p *permissions) with(peers []netip.Addr) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	more := make(map[netip.Addr]bool)
	for _, a := range peers {
		if !p.peers[a.Unmap()] {
			more[a.Unmap()] = true
		}
	}
	return len(p.peers) + len(more)
}

func (p *permissions) set(peer net.IP, there bool) {
	addr, _ := netip.AddrFromSlice(peer)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peers == nil {
		p.peers = make(map[netip.Addr]bool)
	}
	if there {
		p.peers[addr.Unmap()] = true
	} else {
		delete(p.peers, addr.Unmap())
	}
}

// permitted, forbidden, bound and unbound are pion's callbacks. They run under
// locks of the allocation and must not wait.

func (g *gate) permitted(client, _ net.Addr, _, _, _ string, _ net.Addr, peer net.IP) {
	if s := g.session(addrPort(client)); s != nil {
		s.permissions.set(peer, true)
	}
}

func (g *gate) forbidden(client, _ net.Addr, _, _, _ string, _ net.Addr, peer net.IP) {
	if s := g.session(addrPort(client)); s != nil {
		s.permissions.set(peer, false)
	}
}

func (g *gate) bound(client, _ net.Addr, _, _, _ string, _, peer net.Addr, channel uint16) {
	if s := g.session(addrPort(client)); s != nil {
		s.channels.bind(channel, addrPort(peer))
	}
}

func (g *gate) unbound(client, _ net.Addr, _, _, _ string, _, _ net.Addr, channel uint16) {
	if s := g.session(addrPort(client)); s != nil {
		s.channels.unbind(channel)
	}
}
