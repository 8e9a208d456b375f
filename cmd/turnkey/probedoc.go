package main

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
)

// maxProbed is how many addresses the NAT probe is told of: two are enough to
// tell every mapping, and one more may be silent.
const maxProbed = 3

// probeDocument answers GET /nattest.json: where the NAT probe finds this
// server's STUN ports, and which ports relay.
func (s *server) probeDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	var stun []string
	for _, host := range probeHosts(cmp.Or(s.cfg.Host, s.cfg.PublicIP.DNS), s.around.advertise(), s.around.listen) {
		for _, port := range []uint16{s.cfg.Port, s.cfg.AltPort} {
			stun = append(stun, net.JoinHostPort(host, strconv.Itoa(int(port))))
		}
	}
	_ = json.NewEncoder(w).Encode(struct { // the client has gone
		Schema     int      `json:"schema"`
		STUN       []string `json:"stun"`
		RelayPorts string   `json:"relayPorts"`
	}{1, stun, s.cfg.RelayPorts.String()})
}

// probeHosts lists where to send STUN to: the name that is known to lead here,
// else the host that was asked, which is "". A probe that was given one address
// learns the others from this: those that are bound, public and of the family
// of the advertised one. Where that one is not bound itself, as behind a 1:1
// NAT, nothing is known about how the others are reached.
func probeHosts(name string, advertised netip.Addr, listen []netip.Addr) []string {
	hosts := []string{name}
	if name != "" || !isPublic(advertised) || !slices.Contains(listen, advertised) {
		return hosts
	}
	hosts = append(hosts, advertised.String())
	for _, a := range listen {
		if a != advertised && isPublic(a) && a.Is4() == advertised.Is4() && len(hosts)-1 < maxProbed {
			hosts = append(hosts, a.String())
		}
	}
	if len(hosts) == 2 {
		return hosts[:1] // a single address: the one that was asked will do
	}
	return hosts
}
