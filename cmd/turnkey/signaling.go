package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"turnkey/signal"
	"turnkey/web"
)

// signaling makes the signaling server: its clients are let in by the same
// rules as those of /v1/ice, and get their ICE servers with the welcome.
func (s *server) signaling(access *web.Access) *signal.Server {
	return signal.New(signal.Config{
		Admit: func(r *http.Request, room, token string) (signal.Grant, *signal.Error) {
			g, err := access.CheckBearer(r, token)
			if err != nil {
				return signal.Grant{}, &signal.Error{Code: err.Code, Message: err.Message, Hint: err.Hint}
			}
			return signal.Grant{Subject: g.Subject, Room: g.Room}, nil
		},
		ICE: func(label string) (json.RawMessage, time.Time, error) {
			ice, err := s.ice(label, s.cfg.CredentialTTL)
			if err != nil {
				return nil, time.Time{}, err
			}
			servers, err := json.Marshal(ice.ICEServers)
			return servers, ice.ExpiresAt, err
		},
		OriginAllowed: access.OriginAllowed,
		Client:        access.Client,
		RoomMax:       s.cfg.RoomMax,
		RoomsMax:      s.cfg.RoomsMax,
		PeersPerIP:    s.cfg.PeersPerIP,
		Log:           s.log,
	})
}

// probeDocument answers GET /nattest.json: where the NAT probe finds this
// server's STUN ports. Without a name that is known to lead here, a port alone
// stands for the host that was asked.
func (s *server) probeDocument(w http.ResponseWriter, _ *http.Request) {
	host := cmp.Or(s.cfg.Host, s.cfg.PublicIP.DNS)
	at := func(port uint16) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	fmt.Fprintf(w, "{\"schema\":1,\"stun\":[%q,%q]}\n", at(s.cfg.Port), at(s.cfg.AltPort))
}
