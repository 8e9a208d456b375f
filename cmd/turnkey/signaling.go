package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"turnkey/configs"
	"turnkey/signal"
	"turnkey/signal/webhook"
	"turnkey/web"
)

// signaling makes the signaling server: its clients are let in by the same
// rules as those of /v1/ice, and get their ICE servers with the welcome.
func (s *server) signaling() *signal.Server {
	c := signal.Config{
		Admit: func(r *http.Request, room, token string) (signal.Grant, *signal.Error) {
			g, err := s.access.Join(r, room, token)
			if err != nil {
				return signal.Grant{}, &signal.Error{Code: err.Code, Message: err.Message, Hint: err.Hint, Temporary: err.RetryAfter > 0}
			}
			return signal.Grant{Subject: g.Subject, Room: g.Room, ICE: s.issuer(g)}, nil
		},
		OriginAllowed: s.access.OriginAllowed,
		Client:        s.access.Client,
		RoomMax:       s.cfg.RoomMax,
		RoomsMax:      s.cfg.RoomsMax,
		PeersPerIP:    s.cfg.PeersPerIP,
		Observe:       s.doctor.see,
		Log:           s.log,
	}
	if s.webhook != nil {
		c.Approve, c.Left = s.approve, func(j signal.Joining, reason string) { s.webhook.Tell(eventOf(j, reason)) }
	}
	return signal.New(c)
}

// issuer issues ICE servers within what somebody was granted.
func (s *server) issuer(g web.Grant) func(label string) (json.RawMessage, time.Time, error) {
	ttl := s.cfg.CredentialTTL
	if g.RelayTTL > 0 {
		ttl = min(ttl, g.RelayTTL)
	}
	return func(label string) (json.RawMessage, time.Time, error) {
		ice, err := s.ice(label, ttl, g.Quota)
		if err != nil {
			return nil, time.Time{}, err
		}
		if !g.Rights.Has(web.RightRelay) {
			ice = ice.WithoutRelays()
		}
		servers, err := json.Marshal(ice.ICEServers)
		return servers, ice.ExpiresAt, err
	}
}

// newWebhook returns nil if nobody is to be asked.
func (s *server) newWebhook() *webhook.Hook {
	if s.cfg.WebhookURL == "" {
		return nil
	}
	return webhook.New(webhook.Config{
		URL: s.cfg.WebhookURL, Secret: []byte(s.cfg.WebhookSecret), Dial: new(net.Dialer).DialContext, Log: s.log,
	})
}

// approve asks the operator's backend whether a peer may join.
func (s *server) approve(ctx context.Context, j signal.Joining) *signal.Error {
	allow, reason, err := s.webhook.Ask(ctx, eventOf(j, ""))
	switch {
	case err != nil && s.cfg.WebhookFail == configs.FailAllow, err == nil && allow:
		return nil
	case err != nil:
		return &signal.Error{Code: "webhook_failed", Message: "the service that decides who may join did not answer", Temporary: true,
			Hint: "try again later; for the operator: the server's log says what is wrong with TURNKEY_WEBHOOK_URL"}
	}
	refusal := &signal.Error{Code: "webhook_denied", Message: "the service that decides who may join has refused",
		Hint: "its message says why, if it said so; ask who runs it"}
	if reason != "" {
		refusal.Message += ": " + reason
	}
	return refusal
}

func eventOf(j signal.Joining, reason string) webhook.Event {
	e := webhook.Event{Room: j.Room, Peer: j.Peer, Name: j.Name, Meta: j.Meta, Subject: j.Subject, Reason: reason}
	if j.Client.IsValid() {
		e.Address = j.Client.String()
	}
	return e
}

// rooms is what GET /v1/rooms and its like are about.
func (s *server) rooms() web.Rooms {
	return web.Rooms{
		List: func() []web.Room {
			var list []web.Room
			for _, r := range s.signal.Rooms() {
				list = append(list, roomOf(r))
			}
			return list
		},
		Get: func(name string) (web.Room, bool) {
			r, ok := s.signal.Room(name)
			return roomOf(r), ok
		},
		Kick: s.signal.Kick,
		Tell: s.signal.Tell,
		Full: func(r *http.Request, room string) *web.Error {
			if err, status := s.signal.Full(r, room); err != nil {
				return &web.Error{Status: status, Code: err.Code, Message: err.Message, Hint: err.Hint}
			}
			return nil
		},
	}
}

func roomOf(r signal.RoomInfo) web.Room {
	out := web.Room{Name: r.Name, Max: r.Max, Count: r.Count}
	for _, p := range r.Peers {
		out.Peers = append(out.Peers, web.RoomPeer(p))
	}
	return out
}
