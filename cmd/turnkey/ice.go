package main

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"turnkey/turnsrv/cred"
	"turnkey/web"
)

// iceSession is what /v1/ice answers and `turnkey creds` prints: the URLs in the
// order in which clients should try them. A client that takes only the first
// TURN URL gets UDP.
func iceSession(secrets *cred.Secrets, host string, port uint16, label string, ttl time.Duration) (web.Session, error) {
	expires := time.Now().Add(ttl).UTC().Truncate(time.Second)
	username, password, err := secrets.Issue(label, expires)
	if err != nil {
		return web.Session{}, err
	}
	at := net.JoinHostPort(host, strconv.Itoa(int(port)))
	return web.Session{
		ICEServers: []web.ICEServer{
			{URLs: []string{"stun:" + at}},
			{
				URLs:     []string{fmt.Sprintf("turn:%s?transport=udp", at), fmt.Sprintf("turn:%s?transport=tcp", at)},
				Username: username, Credential: password,
			},
		},
		ExpiresAt: expires,
		TTL:       int(ttl / time.Second),
	}, nil
}
