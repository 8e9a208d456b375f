package main

import (
	"net"
	"net/netip"

	"turnkey/configs"
	"turnkey/stunsrv"
	"turnkey/turnsrv"
)

// turnConfig is what TURN is told of settings, sockets and surroundings.
func (s *server) turnConfig() turnsrv.Config {
	return turnsrv.Config{
		IPv6:        s.ipv6Relays(),
		PacketConns: s.sockets.turnUDP,
		Listeners:   s.sockets.turnStreams,
		STUN:        func(conn net.PacketConn) net.PacketConn { return stunsrv.Wrap(conn, s.stunConfig(conn)) },
		Secrets:     s.secrets.Load(),
		Users:       users(s.cfg.Users),
		Alternate:   s.cfg.Alternate,
		Realm:       s.cfg.Realm,
		IPv4:        &turnsrv.Relays{Listen: s.listenRelay(s.around.relay), Advertise: s.around.advertise},
		RelayPorts:  turnsrv.PortRange(s.cfg.RelayPorts),
		Peers:       s.peers,
		Limits: &turnsrv.Limits{
			Allocations: s.cfg.MaxAllocations, AllocationsPerUser: s.cfg.MaxAllocationsPerUser, AllocationsPerAddress: s.cfg.MaxAllocationsPerIP,
			Permissions: s.cfg.MaxPermissions, Channels: s.cfg.MaxChannels, ConnectionsPerAddress: s.cfg.MaxConnectionsPerIP,
			Bandwidth: s.cfg.Bandwidth, BandwidthPerUser: s.cfg.BandwidthPerUser, BandwidthPerAllocation: s.cfg.BandwidthPerAllocation,
			Session: s.cfg.MaxSession,
		},
		Unauthenticated: s.limit.Allow,
		Watch:           s.watch(),
		Log:             s.log,
	}
}

// stunConfig is how Binding requests to conn are answered, which is a UDP
// socket or the packet view of a listener.
func (s *server) stunConfig(conn net.PacketConn) stunsrv.Config {
	if _, datagrams := conn.(*net.UDPConn); !datagrams {
		return stunsrv.Config{Place: s.stun.ofStreams(conn), Connected: true, Limit: s.limit}
	}
	return stunsrv.Config{Place: s.stun.of(conn), Limit: s.limit, Tokens: s.tokens, Heard: s.heard(conn)}
}

// ipv6Relays says how IPv6 relays are made, or nil if this machine has no address
// for them.
func (s *server) ipv6Relays() *turnsrv.Relays {
	if !s.around.relay6.IsValid() {
		return nil
	}
	return &turnsrv.Relays{Listen: s.listenRelay(s.around.relay6), Advertise: func() netip.Addr { return s.around.relay6 }}
}

// users is the list as a map from name to password.
func users(list []configs.User) map[string]string {
	m := make(map[string]string, len(list))
	for _, u := range list {
		m[u.Name] = u.Password
	}
	return m
}
