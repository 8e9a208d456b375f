package main

import (
	"net/netip"
	"time"

	"turnkey/signal/doctor"
)

// chart is the document that the endpoint answers with.
type chart struct {
	Room  string      `json:"room"`
	At    time.Time   `json:"at"`
	Peers []chartPeer `json:"peers"`
	Pairs []chartPair `json:"pairs"`
}

type chartPeer struct {
	ID          string            `json:"id"`
	Joined      time.Time         `json:"joined"`
	Left        *time.Time        `json:"left,omitempty"`
	Away        bool              `json:"away,omitempty"`
	Address     *netip.Addr       `json:"address,omitempty"`
	Binding     *time.Time        `json:"binding,omitempty"`
	Allocations []chartAllocation `json:"allocations,omitempty"`
	Refused     []chartRefusal    `json:"refused,omitempty"`
	Sessions    []chartSession    `json:"sessions,omitempty"`
}

type chartAllocation struct {
	At        time.Time       `json:"at"`
	Transport string          `json:"transport"`
	Client    *netip.AddrPort `json:"client,omitempty"`
	Relay     *netip.AddrPort `json:"relay,omitempty"`
}

type chartRefusal struct {
	At        time.Time   `json:"at"`
	Method    string      `json:"method"`
	Transport string      `json:"transport"`
	Code      int         `json:"code"`
	Reason    string      `json:"reason"`
	Peer      *netip.Addr `json:"peer,omitempty"`
}

type chartSession struct {
	Transport string          `json:"transport"`
	Relay     *netip.AddrPort `json:"relay,omitempty"`
	BytesIn   uint64          `json:"bytesIn"`
	BytesOut  uint64          `json:"bytesOut"`
}

type chartPair struct {
	Peers [2]string `json:"peers"`
	doctor.Verdict
	Sides [2]chartSide `json:"sides"`
}

type chartSide struct {
	Offered    *time.Time     `json:"offered,omitempty"`
	Answered   *time.Time     `json:"answered,omitempty"`
	Restarts   int            `json:"restarts,omitempty"`
	Candidates map[string]int `json:"candidates,omitempty"` // by type, those that were passed on; held and dropped
	End        bool           `json:"endOfCandidates,omitempty"`
	Refused    *doctor.Fault  `json:"refused,omitempty"`
	Report     *doctor.Report `json:"report,omitempty"`
}

func (d *callDoctor) chart(room string, peers []doctor.Peer, pairs []doctor.Pair, addresses bool, now time.Time) chart {
	c := chart{Room: room, At: now.UTC().Truncate(time.Second), Peers: make([]chartPeer, len(peers)), Pairs: make([]chartPair, len(pairs))}
	known, all := map[string]*doctor.Peer{}, make([]*doctor.Peer, len(peers))
	for i := range peers {
		all[i], known[peers[i].ID] = &peers[i], &peers[i]
	}
	d.examine(all...)
	for i, p := range peers {
		c.Peers[i] = charted(p, addresses)
	}
	for i, p := range pairs {
		p.Peers = [2]doctor.Peer{*known[p.Peers[0].ID], *known[p.Peers[1].ID]}
		c.Pairs[i] = chartPair{[2]string{p.Peers[0].ID, p.Peers[1].ID}, doctor.Diagnose(p, now), [2]chartSide{sideOf(p.Sides[0]), sideOf(p.Sides[1])}}
	}
	return c
}

func charted(p doctor.Peer, addresses bool) chartPeer {
	c := chartPeer{ID: p.ID, Joined: second(p.Joined), Left: when(p.Gone), Away: p.Away, Address: shown(addresses, p.Address), Binding: when(p.Bound)}
	for _, a := range p.Allocated {
		c.Allocations = append(c.Allocations, chartAllocation{second(a.At), a.Transport, shown(addresses, a.Client), shown(addresses, a.Relay)})
	}
	for _, r := range p.Refused {
		c.Refused = append(c.Refused, chartRefusal{second(r.At), r.Method, r.Transport, r.Code, r.Reason, shown(addresses && r.Denied.IsValid(), r.Denied)})
	}
	for _, v := range p.Sessions {
		c.Sessions = append(c.Sessions, chartSession{v.Transport, shown(addresses, v.Relay), v.BytesIn, v.BytesOut})
	}
	return c
}

func sideOf(s doctor.Side) chartSide {
	c := chartSide{Offered: when(s.Offered), Answered: when(s.Answered), Restarts: s.Restarts, End: s.Candidates.End}
	for name, n := range map[string]int{"host": s.Candidates.Host, "srflx": s.Candidates.Srflx, "prflx": s.Candidates.Prflx,
		"relay": s.Candidates.Relay, "held": s.Candidates.Held, "dropped": s.Candidates.Dropped} {
		if n > 0 && c.Candidates == nil {
			c.Candidates = map[string]int{}
		}
		if n > 0 {
			c.Candidates[name] = n
		}
	}
	if s.Fault.Code != "" {
		c.Refused = &s.Fault
	}
	if s.Report.State != "" {
		c.Report = &s.Report
	}
	return c
}

// shown returns v if it may be seen.
func shown[T any](may bool, v T) *T {
	if !may {
		return nil
	}
	return &v
}

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func when(t time.Time) *time.Time { return shown(!t.IsZero(), second(t)) }
