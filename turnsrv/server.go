// Package turnsrv is a TURN server (RFC 8656) for the open internet: pion/turn
// with a gate in front of it that decides what pion may see and completes what
// pion answers, and with its own relay ports, peer rules, stream handling and
// sessions around it.
//
// The way of a packet: socket, STUN (Config.STUN answers Binding), gate, pion,
// relay socket, peer; and back. Each socket has a pion server of its own, so
// that what pion asks while it handles a request (which key, which peer, which
// relay socket) is answered with that request at hand.
//
// Credentials are time-limited (package cred). A credential must be current
// when an allocation is made; the allocation may be refreshed beyond it.
package turnsrv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v4"
	"turnkey/turnsrv/cred"
)

// DefaultRealm is the realm of a server whose Config names none. It is short
// because every 401 carries it.
const DefaultRealm = "turnkey"

// closeTimeout bounds Close. Nothing but a fault in this package takes as long.
const closeTimeout = 5 * time.Second

// Config is what New needs. The server owns the sockets from then on.
type Config struct {
	// PacketConns are the UDP sockets to serve clients on, and Listeners accept
	// the connections of all other transports. Each should be bound to one
	// address, so that responses leave from the address that was asked.
	PacketConns []net.PacketConn
	Listeners   []Listener

	// STUN, if not nil, is put around every socket, and around the packet view
	// of every listener, to answer Binding requests. Without it they are dropped.
	STUN func(net.PacketConn) net.PacketConn

	// Secrets check time-limited credentials. Required.
	Secrets *cred.Secrets
	// Users are users with a password and without an expiry, for tools that
	// cannot be given a fresh credential. Names have no colon.
	Users map[string]string
	// Realm, at most 64 bytes of printable ASCII; DefaultRealm if empty.
	Realm string

	// IPv4 and IPv6 are where relays of each address family live. One of them is
	// required; a family that is missing is refused with 440.
	IPv4, IPv6 *Relays
	// RelayPorts are the ports of relayed transport addresses, one for each
	// allocation, in each address family.
	RelayPorts PortRange

	// Peers decides who may be reached. Required, because there is no safe
	// default without knowing the server's own addresses.
	Peers *Peers

	// Alternate, if valid, is the server that clients are sent to while this one
	// shuts down: 300 with ALTERNATE-SERVER (RFC 8489 section 10) instead of 508.
	Alternate netip.AddrPort

	// Limits bound what clients may take; nil = DefaultLimits.
	Limits *Limits
	// Unauthenticated says whether one more response may be sent over UDP to an
	// address that nobody has proved to own, so that the server cannot be used
	// to flood it. Nil allows every one.
	Unauthenticated func(netip.Addr) bool
	// Watch is told of allocations and refusals.
	Watch Watch

	// Log gets one line at Info for each session that ends, and one for each
	// cause of a refusal, bounded in number; the rest of what a client can
	// cause is at Debug. Nil discards.
	Log *slog.Logger
}

// Listener accepts connections of one transport. Handshakes, if there are any,
// must wait for the first Read, so that its deadline covers them.
type Listener struct {
	net.Listener
	// Transport is tcp, tls or dtls: the name in sessions and logs. With dtls
	// every Read of a connection is one message; the others are streams, which
	// are framed.
	Transport string
}

// Relays is how relayed transport addresses of one address family are made.
type Relays struct {
	// Listen opens a relay socket on a port of Config.RelayPorts.
	Listen func(port uint16) (net.PacketConn, error)
	// Advertise returns the address that peers reach relay sockets at. It may
	// change while the server runs.
	Advertise func() netip.Addr
}

// relays is Relays with the ports that are free and those that are in use.
type relays struct {
	Relays
	ports  *ports
	inside *inside
}

// Server is a running TURN server.
type Server struct {
	realm     string
	secrets   atomic.Pointer[cred.Secrets]
	users     map[string]string
	alternate netip.AddrPort
	peers     *Peers
	log       *slog.Logger

	ipv4, ipv6   *relays // nil = not offered
	reservations reservations

	quotas      quotas
	userBuckets userBuckets
	in, out     *bucket // of the whole server
	connections counters[netip.Prefix]
	refusals    refusals
	mayAnswer   func(netip.Addr) bool
	watch       Watch
	tally       tally

	sessions  *sessions
	endpoints []*endpoint
	streams   []*streams
	draining  atomic.Bool
	once      sync.Once
	err       error // of Close
}

// endpoint is one socket with its gate and the pion server behind it.
type endpoint struct {
	gate *gate
	pion *turn.Server
}

// New starts a server on the sockets of c. It fails only on a Config that is
// not complete, and then closes the sockets.
func New(c Config) (*Server, error) {
	s := &Server{
		realm: c.Realm, users: c.Users, alternate: c.Alternate, peers: c.Peers, log: c.Log, sessions: newSessions(),
	}
	s.secrets.Store(c.Secrets)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if c.Limits == nil {
		c.Limits = DefaultLimits()
	}
	s.quotas.limits, s.userBuckets.rate = c.Limits, c.Limits.BandwidthPerUser
	s.in, s.out = newBucket(c.Limits.Bandwidth), newBucket(c.Limits.Bandwidth)
	s.refusals.log, s.mayAnswer, s.watch = s.log, c.Unauthenticated, c.Watch
	if c.IPv4 != nil {
		s.ipv4 = &relays{*c.IPv4, newPorts(c.RelayPorts), newInside(c.RelayPorts)}
	}
	if c.IPv6 != nil {
		s.ipv6 = &relays{*c.IPv6, newPorts(c.RelayPorts), newInside(c.RelayPorts)}
	}
	if s.realm == "" {
		s.realm = DefaultRealm
	}
	if c.STUN == nil {
		c.STUN = func(conn net.PacketConn) net.PacketConn { return conn }
	}
	err := c.validate()
	for _, conn := range c.PacketConns {
		err = errors.Join(err, s.serve(c.STUN(conn), "udp", func(netip.AddrPort, bool) bool { return true }, err == nil))
	}
	for _, l := range c.Listeners {
		err = errors.Join(err, s.serveStreams(l, c.STUN, err == nil))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start TURN server: %w", err), s.Close())
	}
	return s, nil
}

func (c *Config) validate() error {
	switch {
	case c.Secrets == nil:
		return errors.New("no secrets: nobody could be let in")
	case c.Peers == nil:
		return errors.New("no peer rules: relays could reach every address")
	case c.IPv4 == nil && c.IPv6 == nil:
		return errors.New("no way to open relay sockets")
	case c.RelayPorts.Min == 0 || c.RelayPorts.Max < c.RelayPorts.Min:
		return fmt.Errorf("relay ports %d-%d are no range", c.RelayPorts.Min, c.RelayPorts.Max)
	}
	return nil
}

func (s *Server) serveStreams(l Listener, stun func(net.PacketConn) net.PacketConn, ok bool) error {
	if !ok {
		return l.Close()
	}
	var g *gate
	ready := make(chan struct{})
	conns := newStreams(l, &s.connections, s.quotas.limits.ConnectionsPerAddress, s.log, func(client netip.AddrPort) {
		<-ready
		if g != nil {
			g.end(g.session(client), EndGone)
		}
	})
	s.streams = append(s.streams, conns)
	err := s.serve(stun(conns), l.Transport, conns.hold, true)
	if err == nil {
		g = s.endpoints[len(s.endpoints)-1].gate
	}
	close(ready)
	return err
}

// serve starts pion behind a gate on conn, or only closes conn if not ok.
func (s *Server) serve(conn net.PacketConn, transport string, hold func(netip.AddrPort, bool) bool, ok bool) error {
	if !ok {
		return conn.Close()
	}
	g := &gate{socket: asSocket(conn), server: s, transport: transport, hold: hold, sessions: make(map[netip.AddrPort]*session)}
	p, err := turn.NewServer(turn.ServerConfig{
		Realm:       s.realm,
		AuthHandler: g.authKey,
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn: g, RelayAddressGenerator: generator{g}, PermissionHandler: g.permit,
		}},
		EventHandler: turn.EventHandler{
			OnAllocationCreated: g.created,
			OnPermissionCreated: g.permitted, OnPermissionDeleted: g.forbidden,
			OnChannelCreated: g.bound, OnChannelDeleted: g.unbound,
		},
		LoggerFactory: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled},
	})
	if err != nil {
		return errors.Join(fmt.Errorf("serve TURN on %s: %w", conn.LocalAddr(), err), conn.Close())
	}
	s.endpoints = append(s.endpoints, &endpoint{gate: g, pion: p})
	return nil
}

// SetSecrets replaces the secrets that check credentials. Sessions go on.
func (s *Server) SetSecrets(secrets *cred.Secrets) { s.secrets.Store(secrets) }

// Sessions returns the live sessions, in no order.
func (s *Server) Sessions() []Session { return s.sessions.list() }

// SessionsOf returns the live sessions of the users with these labels, in no
// order and without their peers.
func (s *Server) SessionsOf(labels ...string) (list []Session) {
	for _, v := range s.sessions.all() {
		if slices.Contains(labels, v.Label) {
			list = append(list, v.snapshot())
		}
	}
	return list
}

// unauthenticated reports whether a client that has not proved its address may
// be answered once more. A connection proves it.
func (s *Server) unauthenticated(transport string, client netip.Addr) bool {
	if transport != "udp" || s.mayAnswer == nil || s.mayAnswer(client) {
		return true
	}
	s.tally.unanswered.Add(1)
	return false
}

// buckets returns what a new allocation has to pass, from peers and to peers; the
// user's may be nil.
func (s *Server) buckets(user *userBucket) (toClient, toPeers buckets) {
	if user == nil {
		user = new(userBucket)
	}
	rate := s.quotas.limits.BandwidthPerAllocation
	return buckets{newBucket(rate), user.in, s.in}, buckets{newBucket(rate), user.out, s.out}
}

// relays returns what makes relays of an address family, or nil.
func (s *Server) relays(family byte) *relays {
	switch family {
	case familyIPv4:
		return s.ipv4
	case familyIPv6:
		return s.ipv6
	}
	return nil
}

// Shutdown stops accepting connections and allocations, waits until the live
// ones have ended or ctx is done, and closes the server. It returns the error
// of ctx if sessions had to be ended.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	for _, conns := range s.streams {
		conns.drain()
	}
	return errors.Join(s.sessions.wait(ctx), s.Close())
}

// Close closes every socket and connection, ends every session, and returns
// when they have ended. Closing twice does nothing more.
func (s *Server) Close() error {
	s.once.Do(func() { s.err = s.close() })
	return s.err
}

func (s *Server) close() error {
	s.draining.Store(true)
	s.reservations.clear()
	for _, v := range s.sessions.all() {
		v.because(EndShutdown)
	}
	var err error
	for _, e := range s.endpoints {
		err = errors.Join(err, e.pion.Close())
	}
	// pion closes its allocations when its read loops have seen the closed sockets.
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return errors.Join(err, s.sessions.wait(ctx))
}
