package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"turnkey/turnsrv"
	"turnkey/web"
)

// operation is what the operator sees and does over HTTP.
func (s *server) operation() web.Operation {
	return web.Operation{
		Sessions:   s.sessions,
		End:        func(id uint64) bool { return s.turn.End(id) },
		EndUser:    func(user string) int { return s.turn.EndUser(user) },
		Health:     s.health,
		Exposition: s.exposition(),
	}
}

// sessions lists the live sessions, the oldest first.
func (s *server) sessions() []web.Relay {
	list := s.turn.Sessions()
	slices.SortFunc(list, func(a, b turnsrv.Session) int { return cmp.Compare(a.ID, b.ID) })
	relays := make([]web.Relay, len(list))
	for i, v := range list {
		relays[i] = web.Relay{
			ID: v.ID, User: cmp.Or(v.Label, v.Username), Client: v.Client, Relay: v.Relay, Transport: v.Transport, Peers: v.Peers,
			BytesIn: v.BytesIn, BytesOut: v.BytesOut, PacketsIn: v.PacketsIn, PacketsOut: v.PacketsOut,
			Age: int64(time.Since(v.Created) / time.Second),
		}
		if v.Quota.Of != "" {
			relays[i].Quota = (*web.Quota)(&v.Quota)
		}
	}
	return relays
}

// health is what GET /readyz answers.
func (s *server) health() web.Health {
	h := web.Health{Checks: map[string]web.Check{
		"sockets": {State: web.CheckOK, Detail: fmt.Sprintf("%d sockets are bound.", len(s.sockets.bound))},
		"serving": {State: web.CheckOK, Detail: "New sessions are accepted."},
		"relay":   s.tested.get(),
	}}
	if !s.ready.Load() {
		h.Checks["serving"] = web.Check{State: web.CheckFailed, Detail: "The server is starting or stopping: no new sessions."}
	}
	if s.cert != nil {
		h.Checks["certificate"] = certificate(s.cert.Leaf().NotAfter, time.Now())
	}
	return h
}

// certificate checks how long a certificate is good.
func certificate(notAfter, now time.Time) web.Check {
	left := notAfter.Sub(now)
	if left <= 0 {
		return web.Check{State: web.CheckFailed, Detail: "The certificate ended at " + notAfter.UTC().Format(time.RFC3339) + ": renew TURNKEY_TLS_CERT."}
	}
	return web.Check{State: web.CheckOK, Detail: fmt.Sprintf("The certificate is good for %d more days.", int(left/(24*time.Hour)))}
}
