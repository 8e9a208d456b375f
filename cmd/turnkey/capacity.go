package main

import (
	"fmt"
	"net/netip"
	"slices"
)

// otherFiles is how many descriptors HTTP, signaling and the rest may need.
const otherFiles = 1024

// relayPorts is how many relays there can be in each address family.
func (s *server) relayPorts() int { return int(s.cfg.RelayPorts.Max) - int(s.cfg.RelayPorts.Min) + 1 }

// relayAddrs are the addresses that relays are bound to.
func (s *server) relayAddrs() []netip.Addr {
	if s.around.relay6.IsValid() {
		return []netip.Addr{s.around.relay, s.around.relay6}
	}
	return []netip.Addr{s.around.relay}
}

// filesNeeded is how many descriptors the limits let clients take: a socket and
// a connection for each relay.
func (s *server) filesNeeded() uint64 {
	relays := s.relayPorts() * len(s.relayAddrs())
	if most := s.cfg.MaxAllocations; most > 0 {
		relays = min(relays, most)
	}
	return uint64(2*relays + len(s.sockets.open) + otherFiles)
}

// checkFiles warns if descriptors would run out before relays do.
func (s *server) checkFiles(limit uint64, known bool) {
	if need := s.filesNeeded(); known && limit < need {
		s.log.Warn("the limit of open files is below what TURNKEY_RELAY_PORTS may need: raise it (LimitNOFILE= in the systemd unit, ulimit -Hn in a shell) or narrow TURNKEY_RELAY_PORTS",
			"limit", limit, "needed", need)
	}
}

// tryRelays opens relay sockets on the first, the middle and the last port. It
// fails if none can be had.
func (s *server) tryRelays() error {
	r := s.cfg.RelayPorts
	ports := slices.Compact([]uint16{r.Min, r.Min + (r.Max-r.Min)/2, r.Max})
	for _, addr := range s.relayAddrs() {
		open, failed := s.listenRelay(addr), 0
		for _, port := range ports {
			conn, err := open(port)
			if err == nil {
				conn.Close()
				continue
			}
			if failed++; failed == len(ports) && addr == s.around.relay {
				return fmt.Errorf("no relay port can be opened: %w; another program has them, or %s is not of this machine: set TURNKEY_RELAY_PORTS or TURNKEY_LISTEN", err, addr)
			}
			s.log.Warn("a relay port cannot be opened and is passed over: reserve TURNKEY_RELAY_PORTS (net.ipv4.ip_local_reserved_ports), or choose others", "error", err)
		}
	}
	return nil
}

// receiveDrops sums the datagrams that the kernel dropped at the sockets that
// are open now.
func (s *server) receiveDrops() (listeners, relays uint64, known bool) {
	known = udpDrops(func(local netip.AddrPort, drops uint64) {
		port := local.Port()
		switch {
		case slices.Contains(s.relayAddrs(), local.Addr()) && s.cfg.RelayPorts.Contains(port):
			relays += drops
		case !slices.Contains(s.around.listen, local.Addr()):
		case port == s.cfg.Port, port == s.cfg.AltPort, s.cert != nil && port == s.cfg.TLSPort:
			listeners += drops
		}
	})
	return listeners, relays, known
}
