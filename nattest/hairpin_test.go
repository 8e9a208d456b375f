package nattest

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/transport/v4/vnet"
)

// inside is where a socket of a hairpin test is, outside where its NAT puts it.
func inside(socket int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(client), uint16(50000+socket))
}

func outside(socket int) netip.AddrPort {
	return netip.AddrPortFrom(outer.Addr(), uint16(20000+socket))
}

func TestHairpin(t *testing.T) {
	elsewhere := netip.MustParseAddrPort("100.64.0.9:9")
	for name, tt := range map[string]struct {
		from     func(socket int) netip.AddrPort // source of what comes back; nil: nothing does
		refused  bool                            // the NAT says that nobody is there
		once     bool                            // only of the first packets
		filtered bool                            // only from where the socket has sent to
		moves    bool                            // the mappings have changed afterwards
		deaf     bool                            // the server answers nothing
		state    string
		source   string
	}{
		"external source":             {from: outside, state: "yes", source: "external"},
		"filtered":                    {from: outside, filtered: true, state: "yes", source: "external"},
		"filtered, refused at first":  {from: outside, filtered: true, refused: true, state: "yes", source: "external"},
		"internal source":             {from: inside, state: "yes", source: "internal"},
		"another source":              {from: func(int) netip.AddrPort { return elsewhere }, state: "yes", source: "other"},
		"refused":                     {refused: true, state: "no"},
		"refused at first, silent":    {refused: true, once: true, state: Unknown},
		"silent":                      {state: Unknown},
		"silent, the mapping changes": {moves: true, state: Unknown},
		"refused, the mapping moves":  {refused: true, moves: true, state: Unknown},
		"no server":                   {deaf: true, state: Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			m := newHairpin(began, ep1, requests)
			var sent [2]int
			took := perform(t, m, func(k packet, _ time.Time) []arrival {
				if k.to == ep1 {
					at := outside(k.socket)
					if tt.moves && m.cross[0] != nil {
						at = netip.AddrPortFrom(at.Addr(), at.Port()+100)
					}
					if tt.deaf {
						return nil
					}
					return []arrival{{raw: answeredAt(k, at), from: ep1, socket: k.socket}}
				}
				other := 1 - k.socket
				if k.to != outside(other) {
					t.Errorf("got a packet to %s, want to %s", k.to, outside(other))
				}
				if sent[k.socket]++; tt.from != nil && (!tt.filtered || sent[other] > 0) {
					return []arrival{{raw: slices.Clone(k.raw), from: tt.from(k.socket), socket: other}}
				}
				if tt.refused && (!tt.once || sent[0]+sent[1] <= 2) {
					m.refuse(k.socket)
				}
				return nil
			})
			got := m.conclude(netip.MustParseAddr(client))
			if got.State != tt.state || got.Source != tt.source || (got.Why != "") != (tt.state == Unknown) {
				t.Errorf("got %+v, want %s %s", got, tt.state, tt.source)
			}
			limit := 4 * time.Second
			if tt.state == "yes" {
				limit = time.Second
			}
			if took > limit {
				t.Errorf("took %s, want less than %s", took, limit)
			}
		})
	}
}

// A router in memory returns packets with their outer source.
func TestHairpinThroughARouter(t *testing.T) {
	l := rfc5780(&vnet.NATType{FilteringBehavior: vnet.EndpointAddrPortDependent})
	l.run(t, func(t *testing.T, c Config) {
		c.Hairpin = true
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.V4.Hairpin; got.State != "yes" || got.Source != "external" {
			t.Errorf("got %+v, want yes, external", got)
		}
	})
}
