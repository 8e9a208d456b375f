package nattest

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/vnet"
)

func TestFragments(t *testing.T) {
	const mtu = 1500 - 28
	for name, tt := range map[string]struct {
		out, in           bool // fragments are dropped
		loses             int  // of the controls
		state, there, and string
	}{
		"pass":                      {state: "yes", there: "yes", and: "yes"},
		"dropped outbound":          {out: true, state: "no", there: "no", and: Unknown},
		"dropped inbound":           {in: true, state: "no", there: "yes", and: "no"},
		"dropped both ways":         {in: true, out: true, state: "no", there: "no", and: Unknown},
		"one control lost":          {in: true, loses: 1, state: "no", there: "yes", and: "no"},
		"too many controls lost":    {in: true, loses: 2, state: Unknown, there: "yes", and: Unknown},
		"nothing but controls lost": {loses: 8, state: "yes", there: "yes", and: "yes"},
		"everything lost":           {in: true, out: true, loses: 8, state: Unknown, there: Unknown, and: Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			m := newFragments(began, ep1, requests)
			controls := 0
			perform(t, m, func(k packet, _ time.Time) []arrival {
				answer := answeredAt(k, outer)
				if len(k.raw) < 100 {
					if controls++; controls <= tt.loses {
						return nil
					}
				}
				if tt.out && len(k.raw) > mtu || tt.in && len(answer) > mtu {
					return nil
				}
				return []arrival{{raw: answer, from: ep1, socket: 0}}
			})
			if got := m.conclude(); got.State != tt.state || got.Outbound != tt.there || got.Inbound != tt.and || got.Bytes <= mtu ||
				(got.Why != "") != (tt.state == Unknown || tt.out) {
				t.Errorf("got %+v, want %s: %s out, %s in", got, tt.state, tt.there, tt.and)
			}
		})
	}
}

func TestALG(t *testing.T) {
	local := inside(0)
	// A gateway that swaps an address wherever it finds it in clear.
	swap := func(raw []byte, from, to net.IP) []byte {
		out := slices.Clone(raw)
		for i := 20; i+4 <= len(out); i++ {
			if net.IP(out[i : i+4]).Equal(from) {
				copy(out[i:], to.To4())
			}
		}
		return out
	}
	own, seen := net.ParseIP(client), net.IP(outer.Addr().AsSlice())
	for name, tt := range map[string]struct {
		out, in           bool
		elsewhere         bool // another address in the answer
		fewer             bool // two of the controls are lost
		loses             int  // of the requests
		state, there, and string
	}{
		"none":           {state: "no", there: "no", and: "no"},
		"in requests":    {out: true, state: "yes", there: "yes", and: "no"},
		"in answers":     {in: true, state: "yes", there: "no", and: "yes"},
		"in an origin":   {elsewhere: true, state: "yes", there: "no", and: "yes"},
		"in both":        {out: true, in: true, state: "yes", there: "yes", and: "yes"},
		"losses":         {out: true, fewer: true, state: Unknown, there: Unknown, and: "no"},
		"no answers":     {loses: 1000, state: Unknown, there: Unknown, and: Unknown},
		"few but honest": {loses: 9, state: "no", there: "no", and: "no"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newALG(began, local, ep1, requests)
			sent := 0
			perform(t, m, func(k packet, _ time.Time) []arrival {
				if sent++; sent <= tt.loses || tt.fewer && len(k.raw) == 20 && sent < 6 {
					return nil
				}
				if tt.out {
					k.raw = swap(k.raw, own, seen)
				}
				answer := answeredAt(k, outer)
				if tt.in {
					answer = swap(answer, seen, own)
				}
				if tt.elsewhere {
					answer = swap(answer, net.IP(ep1.Addr().AsSlice()), own)
				}
				return []arrival{{raw: answer, from: ep1, socket: 0}}
			})
			if got := m.conclude(); got.State != tt.state || got.Outbound != tt.there || got.Inbound != tt.and ||
				got.Mapped.IsValid() != tt.in || tt.in && got.XOR != outer {
				t.Errorf("got %+v, want %s: %s in requests, %s in answers", got, tt.state, tt.there, tt.and)
			}
		})
	}
}

func TestFragmentsAndALGOverTheNetwork(t *testing.T) {
	l := rfc5780(&vnet.NATType{})
	l.run(t, func(t *testing.T, c Config) {
		c.Fragments, c.ALG = true, true
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.V4.Fragments.State != "yes" || r.V4.ALG.State != "no" {
			t.Errorf("got fragments %+v, ALG %+v; want yes and no", r.V4.Fragments, r.V4.ALG)
		}
	})
}

// What comes in is hostile: no machine may fall over it or believe it.
func FuzzOptIn(f *testing.F) {
	f.Add([]byte("noise"), uint8(0), false)
	f.Add(binding([12]byte{}, net.UDPAddrFromAddrPort(outer)).Raw, uint8(1), true)
	f.Add(stun.MustBuild(stun.BindingRequest, stun.TransactionID).Raw, uint8(1), true)
	f.Fuzz(func(t *testing.T, raw []byte, socket uint8, patch bool) {
		hairpin, lifetime := newHairpin(began, ep1, requests), newLifetime(began, ep1, idle[4], requests, func(string) {})
		fragments, alg := newFragments(began, ep1, requests), newALG(began, inside(0), ep1, requests)
		machines := map[machine]*asks{hairpin: &hairpin.asks, lifetime: &lifetime.asks, fragments: &fragments.asks, alg: &alg.asks}
		for m, a := range machines {
			m.next(began)
			b := slices.Clone(raw)
			if patch && len(b) >= 20 {
				copy(b[8:20], a.all[0].id[:])
			}
			for range 2 * maxHeard {
				m.receive(b, ep1, int(socket), began)
			}
			m.next(began.Add(sendAt[2]))
			if len(a.all[0].heard) > maxHeard {
				t.Errorf("got %d messages kept, want %d at most", len(a.all[0].heard), maxHeard)
			}
		}
		hairpin.conclude(inside(0).Addr())
		lifetime.conclude()
		fragments.conclude()
		alg.conclude()
	})
}
