// Package front is what stands between the sockets and the servers: it ends
// TLS and DTLS, believes the PROXY headers of trusted proxies, and sorts the
// connections of one port by what they are.
//
//	s := front.Split(listener, front.Config{TLS: config}, front.TURN, front.HTTP)
//	turn, https := s.Listener(front.TURN), s.Listener(front.HTTP)
//
//	dtls := front.DTLS(conn, getCertificate, nil, nil)
//
// Before a connection is handed on, it may only take its time: a handshake has
// ten seconds in all, however slowly its bytes arrive, and those that are not
// done are bounded for each client and in all. One that finds no room in all
// takes that of the one that has waited longest, which is most likely the one
// that will never be done.
package front

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// handshakeTimeout is how long a connection may take until it is known what
	// it is.
	handshakeTimeout = 10 * time.Second
	// maxPending is how many connections of one port may be in their handshake,
	// maxPendingPerClient how many of them of one IPv4 address or one IPv6 /64
	// network. Loopback addresses and trusted proxies may have all.
	maxPending          = 4096
	maxPendingPerClient = 64
	// maxPendingDTLS is less, since there the address of a client is not proved
	// at first, and pion keeps some 55 kB for each of them from the first packet.
	maxPendingDTLS = 512
)

// pending are the connections of one port that are in their handshake.
type pending struct {
	max, perClient int // 0 means maxPending and maxPendingPerClient

	mu      sync.Mutex
	entries list.List // of *entry, the oldest first
	clients map[netip.Prefix]int
}

type entry struct {
	client netip.Prefix // the zero Prefix is not counted
	cut    func()
}

// add enters a connection from client, or reports that its client has too
// many. done is to be called when it is no longer pending; cut is called if it
// has to make room. Neither may block.
func (p *pending) add(client netip.Addr, exempt bool, cut func()) (done func(), ok bool) {
	e := &entry{cut: cut}
	if !exempt && !client.IsLoopback() {
		e.client = network(client)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients == nil {
		p.clients = make(map[netip.Prefix]int)
	}
	if e.client.IsValid() && p.clients[e.client] >= limit(p.perClient, maxPendingPerClient) {
		return nil, false
	}
	if p.entries.Len() >= limit(p.max, maxPending) {
		oldest := p.entries.Front()
		p.remove(oldest)
		oldest.Value.(*entry).cut()
	}
	at := p.entries.PushBack(e)
	if e.client.IsValid() {
		p.clients[e.client]++
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.remove(at)
		})
	}, true
}

// remove takes an element out, if it is still in.
func (p *pending) remove(at *list.Element) {
	n := p.entries.Len()
	e := p.entries.Remove(at).(*entry)
	if p.entries.Len() == n || !e.client.IsValid() {
		return
	}
	if p.clients[e.client]--; p.clients[e.client] == 0 {
		delete(p.clients, e.client)
	}
}

func limit(set, standard int) int {
	if set == 0 {
		return standard
	}
	return set
}

// census counts the open connections of each client.
type census struct {
	mu      sync.Mutex
	clients map[netip.Prefix]int
}

// enter counts a connection of client until leave is called, or reports that
// the client has max of them.
func (c *census) enter(client netip.Addr, max int) (leave func(), ok bool) {
	n := network(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[n] >= max {
		return nil, false
	}
	if c.clients == nil {
		c.clients = make(map[netip.Prefix]int)
	}
	c.clients[n]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.clients[n]--; c.clients[n] == 0 {
			delete(c.clients, n)
		}
	}), true
}

// network is what counts as one client.
func network(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits)
	return p
}

// addrOf returns the address of a, without IPv4 mapping and zone.
func addrOf(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// queue is a listener whose connections are handed in.
type queue struct {
	addr   net.Addr
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once
	closed func() error // called once, after it was closed
}

func newQueue(addr net.Addr, size int, closed func() error) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn, size), done: make(chan struct{}), closed: closed}
}

// Accept returns the next connection that was handed in, and net.ErrClosed
// once the queue was closed.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case <-q.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Addr() net.Addr { return q.addr }

// Close ends Accept. Connections that were accepted stay.
func (q *queue) Close() (err error) {
	q.once.Do(func() {
		close(q.done)
		err = q.closed()
	})
	return err
}
