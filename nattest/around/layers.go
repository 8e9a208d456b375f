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
	var mapped []netip.Addr
	for _, a := range s.Mapped {
		if a = a.Unmap(); a.Is4() {
			mapped = append(mapped, a)
		}
	}
	r.layers(mapped)
	r.Advice = r.advise(mapped)
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

// holder reads the trace to the own public address. at is the TTL at which it
// was reached, 0 when that is not known; passed is the highest TTL at which a
// router sent the packet on, so that it does not have the address itself.
func holder(own []Hop) (at, passed int) {
	for _, h := range own {
		switch h.State {
		case "router":
			passed = h.TTL
		case "reached":
			if at == 0 {
				at = h.TTL
			}
		}
	}
	if at != 0 && passed >= at { // two ways, or a router that turns packets back
		return 0, 0
	}
	if at > 1 && passed != at-1 { // a nearer hop may have it and have kept silent
		at = 0
	}
	return at, passed
}

// layers finds the NATs on the way. A private hop alone proves no second NAT:
// operators number their own routers so, and so do networks within a company.
// What counts is who has the public address.
func (r *Report) layers(mapped []netip.Addr) {
	set := func(cgn, double string, layers int, why string) {
		r.CGN, r.DoubleNAT, r.Layers = Finding{cgn, why}, Finding{double, why}, layers
	}
	local := r.Local.Address
	outside, by := r.external()
	at, passed := holder(r.OwnHops)
	beyond := passed >= 2 || at >= 2 // the first router does not have it
	has := outside.IsValid() && slices.Contains(mapped, outside)
	gateway := r.Local.Gateway
	switch {
	case !local.IsValid():
		set(NotTested, NotTested, 0, r.Local.Why)
	case len(mapped) == 0:
		set(Unknown, Unknown, 0, "no STUN server says how this machine is seen")
	case r.VPN.State == Yes:
		set(Unknown, Unknown, natted(local, mapped), "the VPN hides the line below it")
	case natted(local, mapped) == 0:
		set(No, No, 0, "there is no NAT")
	case slices.ContainsFunc(mapped, func(a netip.Addr) bool { return space(a) != "public" }):
		set(Unknown, Unknown, 1, "the server is not on the internet: it sees a private address")
	case at == 1:
		set(No, No, 1, fmt.Sprintf("the first router has the public address %s itself", r.OwnHops[0].Address))
	case has && beyond:
		set(Unknown, Unknown, 1, fmt.Sprintf("the router says by %s that it has the public address, yet packets to that address pass it", by))
	case has:
		set(No, No, 1, fmt.Sprintf("the router says by %s that it has the public address %s itself", by, outside))
	case space(outside) == "shared":
		set(Yes, Yes, 2, fmt.Sprintf("the router's own address, by %s, is %s: the operator translates it (RFC 6598)", by, outside))
	default:
		r.hidden(set, outside, by, gateway, at, passed, beyond)
	}
}

// hidden is for a router that does not tell that it has the public address.
func (r *Report) hidden(set func(cgn, double string, layers int, why string), outside netip.Addr, by string, gateway netip.Addr, at, passed int, beyond bool) {
	where := "beyond hop " + fmt.Sprint(passed)
	if at > 0 {
		where = "at hop " + fmt.Sprint(at)
	}
	shared, home := r.sharedHop(), false
	if len(r.Hops) > 0 {
		home = r.Hops[0].State == "router" && r.Hops[0].Address == gateway && r.Hops[0].Space == "private"
	}
	private := space(outside) == "private"
	switch {
	case space(r.Local.Address) == "shared" && r.Local.Kind == "":
		set(Yes, Unknown, 1, fmt.Sprintf("this machine's own address %s is in the space behind operators' NATs (RFC 6598)", r.Local.Address))
	case space(r.Local.Address) == "shared":
		set(Unknown, Unknown, 1, "this machine's own address is in the space behind operators' NATs (RFC 6598), as in some clouds")
	case beyond && shared != nil && home:
		n := 2
		if private {
			n = 3
		}
		set(Yes, Yes, n, fmt.Sprintf("hop %d is %s, of the space behind operators' NATs (RFC 6598), and the public address is %s, not at the first router", shared.TTL, shared.Address, where))
	case private:
		set(Unknown, Yes, 2, fmt.Sprintf("the router's own address, by %s, is %s, which another NAT translates: a second router, or the operator", by, outside))
	case outside.IsValid() && beyond:
		set(Unknown, Yes, 2, fmt.Sprintf("the router's own address, by %s, is %s, and the public one is %s", by, outside, where))
	case outside.IsValid():
		set(Unknown, Unknown, 1, fmt.Sprintf("the router's own address, by %s, is %s, and the server sees another: a second NAT, or a second line", by, outside))
	case beyond:
		set(Unknown, Unknown, 1, fmt.Sprintf("the public address is not at the first router but %s; whether the first one translates is not known", where))
	case shared != nil:
		set(Unknown, Unknown, 1, fmt.Sprintf("hop %d is %s, in the space of operators' NATs (RFC 6598), yet it is not known who has the public address", shared.TTL, shared.Address))
	case r.Hops == nil:
		set(Unknown, Unknown, 1, "who has the public address: tracing is "+notHere)
	default:
		set(Unknown, Unknown, 1, "no router tells who has the public address")
	}
}

// sharedHop is the first router in shared space.
func (r *Report) sharedHop() *Hop {
	for i := range r.Hops {
		if h := &r.Hops[i]; h.State == "router" && h.Space == "shared" {
			return h
		}
	}
	return nil
}

// natted counts the NATs that the mapped addresses alone prove.
func natted(local netip.Addr, mapped []netip.Addr) int {
	if slices.ContainsFunc(mapped, func(a netip.Addr) bool { return a != local }) {
		return 1
	}
	return 0
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
