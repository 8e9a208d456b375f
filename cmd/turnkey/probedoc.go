package main

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"time"
)

// maxProbed is how many addresses the NAT probe is told of: two are enough to
// tell every mapping, and one more may be silent.
const maxProbed = 3

// probeDocument answers GET /nattest.json: where the NAT probe finds this
// server's STUN ports, which ports relay, and a token that lets it ask more of
// them than strangers may.
func (s *server) probeDocument(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cache-Control", "no-store")
	var stun []string
	for _, host := range s.probeHosts() {
		for _, port := range []uint16{s.cfg.Port, s.cfg.AltPort} {
			stun = append(stun, net.JoinHostPort(host, strconv.Itoa(int(port))))
		}
	}
	token, expires := s.tokens.Issue()
	change := "port"
	if len(s.stun.hosts(s.around.advertise())) > 1 {
		change = "all"
	}
	seen := ""
	if client := s.access.Client(r); client.IsValid() {
		seen = client.String()
	}
	_ = json.NewEncoder(w).Encode(struct { // the client has gone
		Schema        int       `json:"schema"`
		STUN          []string  `json:"stun"`
		RelayPorts    string    `json:"relayPorts"`
		Token         string    `json:"token"`
		Expires       time.Time `json:"expires"`
		ChangeRequest string    `json:"changeRequest"`
		Seen          string    `json:"seen"`
	}{1, stun, s.cfg.RelayPorts.String(), base64.RawURLEncoding.EncodeToString(token), expires.UTC(), change, seen})
}

// probeHosts lists where to send STUN to: the name that is known to lead here,
// else the host that was asked, which is "". A probe that was given one address
// learns the others from this: the alternates of the advertised one.
func (s *server) probeHosts() []string {
	hosts := []string{cmp.Or(s.cfg.Host, s.cfg.PublicIP.DNS)}
	for _, a := range s.stun.hosts(s.around.advertise()) {
		if a.String() != hosts[0] {
			hosts = append(hosts, a.String())
		}
	}
	return hosts
}
