package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"turnkey/configs"
	"turnkey/stunsrv"
	"turnkey/turnsrv"
	"turnkey/turnsrv/front"
	"turnkey/web"
	"turnkey/web/certs"
)

// sockets are all that a server listens on.
type sockets struct {
	turnUDP     []net.PacketConn
	turnStreams []turnsrv.Listener // TCP, TLS and DTLS
	stunUDP     []net.PacketConn   // on ALT_PORT
	http        net.Listener
	https       net.Listener // nil = none
	bound       []web.Socket // what a person would call sockets: one for each address, port and use
	open        []io.Closer
}

// binder opens sockets and gathers what goes wrong.
type binder struct {
	sockets
	cfg    configs.Config
	cert   *certs.Files // nil = no TLS
	log    *slog.Logger
	faults []error

	buffers *buffers
}

// openSockets binds everything, or nothing: it reports every address that could
// not be bound, and by which setting to change it.
func openSockets(cfg configs.Config, addrs []netip.Addr, cert *certs.Files, limit *stunsrv.Limiter, buf *buffers, log *slog.Logger) (*sockets, error) {
	b := &binder{cfg: cfg, cert: cert, log: log, buffers: buf}
	for _, a := range addrs {
		turn, secure := netip.AddrPortFrom(a, cfg.Port).String(), netip.AddrPortFrom(a, cfg.TLSPort).String()
		b.turnUDP = append(b.turnUDP, b.udp("TURNKEY_PORT", turn, "STUN and TURN", socketsPerAddress())...)
		if cert == nil {
			b.streams(b.tcp("TURNKEY_PORT", turn, "STUN and TURN"), front.Plain)
		} else {
			b.streams(b.tcp("TURNKEY_PORT", turn, "STUN and TURN, with and without TLS"), front.Plain, front.TURN)
			b.streams(b.tcp("TURNKEY_TLS_PORT", secure, "TURN over TLS"), front.TURN)
			for _, conn := range b.udp("TURNKEY_TLS_PORT", secure, "TURN over DTLS", 1) {
				l := front.DTLS(conn, cert.GetCertificate, limit.Allow, log)
				b.turnStreams = append(b.turnStreams, turnsrv.Listener{Listener: l, Transport: "dtls"})
				b.open = append(b.open, l)
			}
		}
		b.stunUDP = append(b.stunUDP, b.udp("TURNKEY_ALT_PORT", netip.AddrPortFrom(a, cfg.AltPort).String(), "STUN", 1)...)
	}
	if l := b.tcp("TURNKEY_HTTP", cfg.HTTP, "HTTP"); l != nil {
		b.http = b.split(l, map[front.Kind]front.Limit{front.Plain: httpLimit(cfg)}, front.Plain).Listener(front.Plain)
	}
	if _, on := httpsPort(cfg); on {
		if l := b.tcp("TURNKEY_HTTPS", cfg.HTTPS, "HTTPS, and TURN over TLS"); l != nil {
			b.https = b.streams(l, front.TURN, front.HTTP).Listener(front.HTTP)
		}
	}
	if len(b.turnUDP) == 0 && len(b.faults) == 0 {
		b.faults = append(b.faults, errors.New("no address to listen on; set TURNKEY_LISTEN"))
	}
	if len(b.faults) > 0 {
		b.close()
		return nil, errors.Join(b.faults...)
	}
	return &b.sockets, nil
}

func (s *sockets) close() {
	for _, c := range s.open {
		c.Close()
	}
}

// udp opens up to n sockets on one address; see listenUDP.
func (b *binder) udp(setting, at, use string, n int) []net.PacketConn {
	conns, err := listenUDP(at, n)
	for _, c := range conns {
		b.buffers.listener(c)
		b.open = append(b.open, c)
	}
	b.note(setting, "udp", at, use, err)
	return conns
}

// tcp opens a listener, or returns nil.
func (b *binder) tcp(setting, at, use string) net.Listener {
	l, err := net.Listen("tcp", at)
	if err == nil {
		b.open = append(b.open, l)
		at = l.Addr().String()
	}
	b.note(setting, "tcp", at, use, err)
	return l
}

// note keeps what was bound, or why it was not.
func (b *binder) note(setting, network, at, use string, err error) {
	switch {
	case err == nil:
		if addr, err := netip.ParseAddrPort(at); err == nil {
			b.bound = append(b.bound, web.Socket{Network: network, Addr: addr, Use: use})
		}
	case errors.Is(err, syscall.EADDRNOTAVAIL) && len(b.cfg.Listen) == 0 && setting != "TURNKEY_HTTP" && setting != "TURNKEY_HTTPS":
		b.log.Warn("address cannot be bound, left out", "network", network, "address", at, "error", err)
	default:
		b.faults = append(b.faults, explainBind(setting, err))
	}
}

// httpLimit lets a client have its signaling connections, and as many others as
// TURN lets it have.
func httpLimit(cfg configs.Config) front.Limit {
	if cfg.MaxConnectionsPerIP == 0 {
		return front.Limit{}
	}
	body := "too many connections from your address; close some, or ask the operator for more (TURNKEY_MAX_CONNECTIONS_PER_IP)\n"
	return front.Limit{
		PerClient: cfg.MaxConnectionsPerIP + cfg.PeersPerIP, Setting: "TURNKEY_MAX_CONNECTIONS_PER_IP",
		Answer: fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nRetry-After: 10\r\nConnection: close\r\n\r\n%s", len(body), body),
	}
}

// split sorts the connections of l by kind.
func (b *binder) split(l net.Listener, limits map[front.Kind]front.Limit, kinds ...front.Kind) *front.Splitter {
	c := front.Config{TrustedProxies: b.cfg.TrustedProxies, Limits: limits, Log: b.log}
	if b.cert != nil {
		c.TLS = tlsConfig(b.cert)
	}
	s := front.Split(l, c, kinds...)
	b.open = append(b.open, s)
	return s
}

// streams hands the TURN connections among those of l to TURN.
func (b *binder) streams(l net.Listener, kinds ...front.Kind) *front.Splitter {
	if l == nil {
		return nil
	}
	s := b.split(l, map[front.Kind]front.Limit{front.HTTP: httpLimit(b.cfg)}, kinds...)
	for _, k := range kinds {
		switch k {
		case front.Plain:
			b.turnStreams = append(b.turnStreams, turnsrv.Listener{Listener: s.Listener(k), Transport: "tcp"})
		case front.TURN:
			b.turnStreams = append(b.turnStreams, turnsrv.Listener{Listener: s.Listener(k), Transport: "tls"})
		}
	}
	return s
}

// httpsPort returns the port of TURNKEY_HTTPS, and whether it is on.
func httpsPort(cfg configs.Config) (port uint16, on bool) {
	if cfg.HTTPS == "" || cfg.HTTPS == configs.HTTPSOff {
		return 0, false
	}
	_, service, _ := net.SplitHostPort(cfg.HTTPS)
	n, _ := strconv.ParseUint(service, 10, 16)
	return uint16(n), true
}

// explainBind says what to do about an address that cannot be bound.
func explainBind(setting string, err error) error {
	fix := "set " + setting + " to another value"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		fix = "another program has it; stop that one, or set " + setting
	case errors.Is(err, syscall.EACCES):
		fix = "ports below 1024 need the capability CAP_NET_BIND_SERVICE; grant it, or set " + setting
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		fix = "no interface has that address; correct TURNKEY_LISTEN, TURNKEY_HTTP or TURNKEY_HTTPS"
	}
	if setting == "TURNKEY_HTTPS" {
		fix += " (off leaves it out)"
	}
	return fmt.Errorf("%w: %s", err, fix)
}

// listenUDP opens n sockets that share one address, so that the kernel spreads
// the clients over them, or one where the system has no such sharing. The first
// is opened alone: who shares would not notice that another server is there.
func listenUDP(at string, n int) ([]net.PacketConn, error) {
	alone, err := net.ListenPacket("udp", at)
	if err != nil || n < 2 {
		return only(alone, err)
	}
	if err := alone.Close(); err != nil {
		return nil, err
	}
	var conns []net.PacketConn
	for range n {
		conn, err := listenShared(at)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			return nil, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

func only(conn net.PacketConn, err error) ([]net.PacketConn, error) {
	if err != nil {
		return nil, err
	}
	return []net.PacketConn{conn}, nil
}

// listenRelay returns a function that opens relay sockets on addr.
func (s *server) listenRelay(addr netip.Addr) func(port uint16) (net.PacketConn, error) {
	return func(port uint16) (net.PacketConn, error) {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, port)))
		if err != nil {
			return nil, err
		}
		s.buffers.set(conn, relayBuffer)
		s.buffers.relay.Do(func() { s.buffers.look(conn, relayBuffer) })
		return conn, nil
	}
}
