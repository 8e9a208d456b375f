package main

import (
	"net"
	"strconv"
	"time"

	"turnkey/configs"
	"turnkey/turnsrv/cred"
	"turnkey/web"
)

// iceSession is what /v1/ice answers and `turnkey creds` prints: the URLs in the
// order in which clients should try them. A client that takes only the first
// TURN URL gets UDP. DTLS is not among them: no browser knows it for TURN.
func iceSession(secrets *cred.Secrets, cfg configs.Config, host, label string, ttl time.Duration, quota web.Quota) (web.Session, error) {
	expires := time.Now().Add(ttl).UTC().Truncate(time.Second)
	username, password, err := secrets.IssueWithin(cred.Quota(quota), label, expires)
	if err != nil {
		return web.Session{}, err
	}
	at := func(port uint16) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }
	relay := []string{"turn:" + at(cfg.Port) + "?transport=udp", "turn:" + at(cfg.Port) + "?transport=tcp"}
	if cfg.TLSCert != "" && isName(host) {
		if port, on := httpsPort(cfg); on { // before the other: the port that no firewall closes
			relay = append(relay, "turns:"+at(port)+"?transport=tcp")
		}
		relay = append(relay, "turns:"+at(cfg.TLSPort)+"?transport=tcp")
	}
	return web.Session{
		ICEServers: []web.ICEServer{
			{URLs: []string{"stun:" + at(cfg.Port)}},
			{URLs: relay, Username: username, Credential: password},
		},
		ExpiresAt: expires,
		TTL:       int(ttl / time.Second),
	}, nil
}
