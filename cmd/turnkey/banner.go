package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"turnkey/configs"
	"turnkey/web"
)

// status gathers what a newcomer needs to know.
func (s *server) status() web.Status {
	st := web.Status{
		Version: thisBuild().Version, Host: s.around.host(), Auth: s.cfg.Auth,
		Public: s.around.advertise().String(), PublicFrom: s.around.public().from,
		Listen: s.sockets.bound,
		Calls:  (int(s.cfg.RelayPorts.Max) - int(s.cfg.RelayPorts.Min) + 1) / 2,
		Off:    s.off(),
	}
	_, httpPort, _ := net.SplitHostPort(s.sockets.http.Addr().String())
	st.Open = []web.Port{
		{Network: "udp", Ports: strconv.Itoa(int(s.cfg.Port)), Use: "STUN and TURN"},
		{Network: "tcp", Ports: strconv.Itoa(int(s.cfg.Port)), Use: "TURN where UDP is blocked"},
		{Network: "udp", Ports: strconv.Itoa(int(s.cfg.AltPort)), Use: "second STUN port, for NAT tests"},
		{Network: "udp", Ports: s.cfg.RelayPorts.String(), Use: "relays, one port each"},
		{Network: "tcp", Ports: httpPort, Use: "these pages and the API"},
	}
	if s.cert != nil {
		port := strconv.Itoa(int(s.cfg.TLSPort))
		st.Open = append(st.Open,
			web.Port{Network: "tcp", Ports: port, Use: "TURN over TLS"},
			web.Port{Network: "udp", Ports: port, Use: "TURN over DTLS"})
		if port, on := httpsPort(s.cfg); on {
			st.Open = append(st.Open, web.Port{Network: "tcp", Ports: strconv.Itoa(int(port)), Use: "HTTPS, and TURN over TLS where only the web is open"})
		}
	}
	return st
}

// off lists what this server could do and does not, by the setting that
// switches it on.
func (s *server) off() []web.Off {
	var off []web.Off
	add := func(missing bool, what, setting string) {
		if missing {
			off = append(off, web.Off{What: what, Setting: setting})
		}
	}
	add(s.around.public().hint != "", "being reached from outside this network", "TURNKEY_PUBLIC_IP")
	add(len(s.stun.hosts(s.around.advertise())) < 2, "NAT tests that need a second address", "TURNKEY_ALT_IP")
	_, https := httpsPort(s.cfg)
	add(s.cert == nil, "TURN over TLS and DTLS, HTTPS", "TURNKEY_TLS_CERT")
	add(s.cert != nil && !https, "HTTPS, and TURN on its port", "TURNKEY_HTTPS")
	add(s.cert != nil && !isName(s.around.host()), "turns: URLs for clients, which need a name", "TURNKEY_HOST")
	add(s.cfg.Auth == configs.AuthLocal, "credentials for clients outside this network", "TURNKEY_AUTH")
	add(len(s.cfg.Origins) == 0, "credentials for pages of other web sites", "TURNKEY_ORIGINS")
	add(len(s.cfg.AllowPeers) == 0, "relaying to private addresses", "TURNKEY_ALLOW_PEERS")
	add(s.secret.random, "credentials that outlive a restart", "TURNKEY_SECRET")
	return off
}

// announce prints what the server is and how to use it.
func (s *server) announce(w io.Writer, asJSON bool) error {
	ice, err := iceSession(s.secrets.Load(), s.cfg, s.around.host(), "snippet", s.cfg.CredentialTTL, web.Quota{})
	if err != nil {
		return err
	}
	st := s.status()
	page := localURL(s.sockets.http.Addr().String())
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			Page   string      `json:"page"`
			Status web.Status  `json:"status"`
			ICE    web.Session `json:"ice"`
		}{page, st, ice})
	}
	snippet, err := json.MarshalIndent(ice.ICEServers, "    ", "  ")
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "turnkey %s\n\n", st.Version)
	fmt.Fprintf(&b, "  page        %s\n", page)
	if port, on := httpsPort(s.cfg); on {
		fmt.Fprintf(&b, "              %s\n", httpsURL(s.around.host(), port))
	}
	fmt.Fprintf(&b, "  advertised  %s (%s)\n", st.Public, st.PublicFrom)
	if s.around.public().hint != "" {
		fmt.Fprintf(&b, "              %s\n", s.around.public().hint)
	}
	if s.around.relay6.IsValid() {
		fmt.Fprintf(&b, "              %s for IPv6 relays\n", s.around.relay6)
	}
	fmt.Fprintf(&b, "  listening   %s\n", join(s.around.listen))
	fmt.Fprintf(&b, "  calls       %d at once with both sides relayed, two ports each (TURNKEY_RELAY_PORTS)\n\n", st.Calls)
	fmt.Fprintf(&b, "  Ports to open in the firewall:\n")
	for _, p := range st.Open {
		fmt.Fprintf(&b, "    %-3s  %-12s %s\n", p.Network, p.Ports, p.Use)
	}
	fmt.Fprintf(&b, "\n  Switched off:\n")
	for _, o := range st.Off {
		fmt.Fprintf(&b, "    %-46s %s\n", o.What, o.Setting)
	}
	with := ""
	if s.cfg.Auth == configs.AuthKey {
		with = " with the key or a token"
	}
	fmt.Fprintf(&b, "\n  Paste into your page (good until %s; for fresh ones GET %s/v1/ice%s):\n\n    const iceServers = %s;\n\n",
		ice.ExpiresAt.Format("2006-01-02 15:04 MST"), page, with, snippet)
	_, err = io.WriteString(w, b.String())
	return err
}

// httpsURL is the URL at which clients find the pages with TLS.
func httpsURL(host string, port uint16) string {
	at := net.JoinHostPort(host, strconv.Itoa(int(port)))
	return "https://" + strings.TrimSuffix(at, ":443")
}

func join(addrs []netip.Addr) string {
	var b strings.Builder
	for i, a := range addrs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	return b.String()
}
