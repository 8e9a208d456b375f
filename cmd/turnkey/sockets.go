package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"syscall"

	"turnkey/configs"
	"turnkey/turnsrv"
)

// sockets are all that a server listens on.
type sockets struct {
	turnUDP []net.PacketConn
	turnTCP []turnsrv.Listener
	stunUDP []net.PacketConn // on ALT_PORT
	http    net.Listener
	open    []io.Closer
}

// openSockets binds everything, or nothing: it reports every address that could
// not be bound, and by which setting to change it.
func openSockets(cfg configs.Config, addrs []netip.Addr, log *slog.Logger) (*sockets, error) {
	s := &sockets{}
	var faults []error
	bind := func(setting, network, at string) any {
		conn, err := listen(network, at)
		if errors.Is(err, syscall.EADDRNOTAVAIL) && len(cfg.Listen) == 0 && setting != "TURNKEY_HTTP" {
			log.Warn("address cannot be bound, left out", "network", network, "address", at, "error", err)
			return nil
		}
		if err != nil {
			faults = append(faults, explainBind(setting, err))
			return nil
		}
		s.open = append(s.open, conn)
		return conn
	}
	for _, a := range addrs {
		turn, alt := netip.AddrPortFrom(a, cfg.Port).String(), netip.AddrPortFrom(a, cfg.AltPort).String()
		if c := bind("TURNKEY_PORT", "udp", turn); c != nil {
			s.turnUDP = append(s.turnUDP, c.(net.PacketConn))
		}
		if c := bind("TURNKEY_PORT", "tcp", turn); c != nil {
			s.turnTCP = append(s.turnTCP, turnsrv.Listener{Listener: c.(net.Listener), Transport: "tcp"})
		}
		if c := bind("TURNKEY_ALT_PORT", "udp", alt); c != nil {
			s.stunUDP = append(s.stunUDP, c.(net.PacketConn))
		}
	}
	if c := bind("TURNKEY_HTTP", "tcp", cfg.HTTP); c != nil {
		s.http = c.(net.Listener)
	}
	if len(s.turnUDP) == 0 && len(faults) == 0 {
		faults = append(faults, errors.New("no address to listen on; set TURNKEY_LISTEN"))
	}
	if len(faults) > 0 {
		s.close()
		return nil, errors.Join(faults...)
	}
	return s, nil
}

func (s *sockets) close() {
	for _, c := range s.open {
		c.Close()
	}
}

// listen opens a UDP socket or a TCP listener.
func listen(network, at string) (io.Closer, error) {
	if network == "udp" {
		return net.ListenPacket(network, at)
	}
	return net.Listen(network, at)
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
		fix = "no interface has that address; correct TURNKEY_LISTEN or TURNKEY_HTTP"
	}
	return fmt.Errorf("%w: %s", err, fix)
}

// listenRelay returns a function that opens relay sockets on addr.
func listenRelay(addr netip.Addr) func(port uint16) (net.PacketConn, error) {
	return func(port uint16) (net.PacketConn, error) {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, port)))
	}
}
