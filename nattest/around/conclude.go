package around

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Seen is what others found out about this machine.
type Seen struct {
	Mapped []netip.Addr // addresses that STUN servers saw, IPv4 and IPv6
	HTTP   netip.Addr   // the address that the server's HTTP saw, zero: not known
}

// Conclude says what was gathered means. It does no I/O.
func (r *Report) Conclude(s Seen) {
	if m := r.mapped.Addr(); m.IsValid() && !slices.Contains(s.Mapped, m) {
		s.Mapped = append(slices.Clone(s.Mapped), m)
	}
	r.HTTP = compareHTTP(s, r.CaptivePortal.State == Yes)
	var c clues
	for _, a := range s.Mapped {
		if a = a.Unmap(); a.Is4() {
			c.mapped = append(c.mapped, a)
		}
	}
	c.external, c.by = r.external()
	c.at, c.passed = holder(r.OwnHops)
	n := r.layers(c)
	r.CGN, r.DoubleNAT, r.Layers = Finding{n.cgn, n.why}, Finding{n.double, n.why}, n.layers
	r.Advice = r.advise(c.mapped)
	if r.Hops == nil {
		r.Hops = []Hop{}
	}
	if r.OwnHops == nil {
		r.OwnHops = []Hop{}
	}
	if r.Local.Addresses == nil {
		r.Local.Addresses = []netip.Prefix{}
	}
}

// external is the address that the router says to have on its other side, and
// by which protocol.
func (r *Report) external() (a netip.Addr, by string) {
	for _, p := range r.protocols() {
		if p.External.IsValid() {
			return p.External, p.name
		}
	}
	return netip.Addr{}, ""
}

type named struct {
	name string
	*Protocol
}

func (r *Report) protocols() []named {
	return []named{{"UPnP", &r.UPnP}, {"PCP", &r.PCP}, {"NAT-PMP", &r.NATPMP}}
}

// compareHTTP sets the address that HTTP saw beside those of its family.
func compareHTTP(s Seen, portal bool) HTTP {
	h := HTTP{Seen: s.HTTP.Unmap(), State: Unknown}
	var same []netip.Addr
	for _, a := range s.Mapped {
		if a = a.Unmap(); a.Is4() == h.Seen.Is4() {
			same = append(same, a)
		}
	}
	switch {
	case !h.Seen.IsValid():
		h.Why = "the server does not say which address its HTTP saw"
	case portal:
		h.Why = "something answers HTTP in the server's place"
	case len(same) == 0:
		h.Why = "no STUN answer of this family to compare with"
	case slices.Contains(same, h.Seen):
		h.State = "same"
	case space(h.Seen) != space(same[0]):
		h.Why = fmt.Sprintf("the server sees HTTP come from %s: a proxy in front of it hides where from", h.Seen)
	default:
		h.State = "differs"
		h.Why = fmt.Sprintf("HTTP comes from %s and UDP from %s: a proxy or a VPN carries one of them, or the NAT has several addresses", h.Seen, same[0])
	}
	return h
}

// advise says what the router's protocols are good for.
func (r *Report) advise(mapped []netip.Addr) string {
	var list []string
	has := false
	for _, p := range r.protocols() {
		if p.State != Available {
			continue
		}
		list = append(list, p.name)
		has = has || p.External.IsValid() && slices.Contains(mapped, p.External)
	}
	if list == nil {
		return ""
	}
	last := len(list) - 1
	offers := list[last]
	if last > 0 {
		offers = strings.Join(list[:last], ", ") + " and " + offers
	}
	switch {
	case r.DoubleNAT.State == Yes:
		return "the router offers " + offers + ", but its own address is not the public one: a port opened there is not reached from the internet"
	case has && r.DoubleNAT.State == No:
		return "the router offers " + offers + ": applications that ask it for a port are reached directly"
	}
	return ""
}
