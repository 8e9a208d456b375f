package main

import (
	"encoding/json"
	"net/http"
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
		Observe:       s.seeRoom,
		Log:           s.log,
	})
}
