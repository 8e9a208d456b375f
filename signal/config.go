// Package signal lets WebRTC peers find each other: they join a room over a
// WebSocket, learn who is there and who makes the offer, and pass offers,
// answers and candidates to one peer each. The protocol is docs/protocol.md.
//
// A [Server] is an http.Handler; route GET /v1/ws to it:
//
//	s := signal.New(signal.Config{Admit: admit, ICE: ice})
//	mux.Handle("/v1/ws", s)
//	defer s.Shutdown(ctx) // says goaway, closes every socket, waits
//
// A Go program joins a room with [Enter], which gives a [Client] that survives
// the loss of its socket.
//
// Nobody is admitted unless [Config.Admit] is set. What the server decides is
// in two places without I/O: [Decode] turns bytes into one of a closed set of
// messages, and the room core turns a message into deliveries. A room has its
// own lock; the table of rooms is touched only when a peer joins or leaves.
// A peer that does not keep up with its room is closed, never waited for.
package signal

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"turnkey/signal/doctor"
)

// Config says who may come in, what they are given, and how many fit.
// The zero value admits nobody.
type Config struct {
	// Admit decides whether the request may join the room with the token it
	// carried ("" = none; it comes from the join message, ?token=, the
	// Authorization header or the subprotocol). A refusal reaches the client
	// as it is, and its socket is closed with 4003. It is called from many
	// goroutines. Nil refuses everybody.
	Admit func(r *http.Request, room, token string) (Grant, *Error)

	// Approve, if set, has the last word on a join that Admit allowed and the
	// room has a place for. It may wait, for as long as ctx lives: only the socket
	// that wants to join waits with it. It is called from many goroutines. A
	// refusal reaches the client as it is.
	Approve func(ctx context.Context, j Joining) *Error
	// Left, if set, is told once of each join that was approved, when the peer
	// is out again, or did not get in after all: the reason is then an error's
	// code, or "rejoined" if its client has got in by another join meanwhile, and
	// else that of peer-left. It must not wait.
	Left func(j Joining, reason string)

	// ICE issues the iceServers array for a peer, and the time its
	// credentials end; the zero time means never. The label is the peer's id.
	// It is called on join, on request and at half the life of what it
	// issued, from many goroutines. Nil issues an empty array.
	ICE func(label string) (servers json.RawMessage, expires time.Time, err error)

	// OriginAllowed says whether a page of the request's Origin may connect.
	// Nil allows the request's own host, and clients that send no Origin.
	OriginAllowed func(r *http.Request) bool

	// Client is the address that PeersPerIP counts. Nil takes the remote
	// address of the connection; behind a proxy, hand in what it forwarded.
	Client func(r *http.Request) netip.Addr

	// RoomMax is how many peers a room holds, default 8.
	RoomMax int
	// RoomsMax is how many rooms there may be, default 10000. There are never
	// more than RoomsMax × RoomMax + 1024 sockets.
	RoomsMax int
	// PeersPerIP is how many sockets one IPv4 address or one IPv6 /64 may
	// hold, default 64.
	PeersPerIP int

	// Observe is told what happens between peers: a diagnosis can then say why
	// they are not connected. It is called under the lock of a room, so it must
	// return at once, and call nothing of this package. Nil: nobody is told.
	Observe func(doctor.Event)

	// Log gets one line per socket at its end, at Debug, and faults of ICE
	// at Error. Nil discards.
	Log *slog.Logger
}

// Grant is what [Config.Admit] found out about a peer.
type Grant struct {
	// Subject names the holder of the token in the log; may be empty.
	Subject string
	// Room is the only room the token is good for, "" = any.
	Room string
	// ICE issues this peer's servers in place of [Config.ICE]; nil = that does.
	ICE func(label string) (servers json.RawMessage, expires time.Time, err error)
}

// withDefaults fills what is unset.
func (c Config) withDefaults() Config {
	c.RoomMax = cmp.Or(max(c.RoomMax, 0), 8)
	c.RoomsMax = cmp.Or(max(c.RoomsMax, 0), 10000)
	c.PeersPerIP = cmp.Or(max(c.PeersPerIP, 0), 64)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Admit == nil {
		c.Admit = func(*http.Request, string, string) (Grant, *Error) { return Grant{}, errNobody() }
	}
	if c.ICE == nil {
		c.ICE = func(string) (json.RawMessage, time.Time, error) { return json.RawMessage("[]"), time.Time{}, nil }
	}
	if c.OriginAllowed == nil {
		c.OriginAllowed = sameHost
	}
	if c.Client == nil {
		c.Client = remoteAddr
	}
	return c
}

// sameHost allows no Origin at all (not a browser), or the request's own host.
func sameHost(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

func remoteAddr(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	return ap.Addr()
}

// token is what the upgrade request carried, "" if nothing. Browsers can set
// no headers on a WebSocket, so a token may also come as ?token= or as the
// subprotocol "bearer.TOKEN" next to "turnkey.v1".
func token(r *http.Request) string {
	if scheme, t, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(t)
	}
	for _, h := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(h, ",") {
			if t, ok := strings.CutPrefix(strings.TrimSpace(p), "bearer."); ok {
				return t
			}
		}
	}
	return r.URL.Query().Get("token")
}
