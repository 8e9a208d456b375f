package around

import (
	"fmt"
	"net/netip"
	"slices"
)

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

// clues are what tells how many NATs there are.
type clues struct {
	mapped     []netip.Addr // IPv4 addresses that STUN servers saw
	external   netip.Addr   // that the router says to have, zero unknown
	by         string       // the protocol it says so by
	at, passed int          // who has the public address, see holder
}

// behind says that the first router does not have the public address: somebody
// further away does. One that passes packets to it on may still have it, and
// send everything that comes in on to another machine.
func (c *clues) behind() bool { return c.passed >= 2 || c.at >= 2 }

// where says where the public address is.
func (c *clues) where() string {
	if c.at > 0 {
		return fmt.Sprintf("at hop %d", c.at)
	}
	return fmt.Sprintf("beyond hop %d", c.passed)
}

// nats is what is concluded from the clues.
type nats struct {
	cgn, double string
	layers      int // at least
	why         string
}

// layers counts the NATs on the way. A private hop alone proves no second NAT:
// operators number their own routers so, and so do networks within a company.
// What counts is who has the public address.
func (r *Report) layers(c clues) nats {
	local := r.Local.Address
	foreign := 0 // NATs that the mapped addresses alone prove
	if slices.ContainsFunc(c.mapped, func(a netip.Addr) bool { return a != local }) {
		foreign = 1
	}
	has := c.external.IsValid() && slices.Contains(c.mapped, c.external)
	switch {
	case !local.IsValid():
		return nats{NotTested, NotTested, 0, r.Local.Why}
	case len(c.mapped) == 0:
		return nats{Unknown, Unknown, 0, "no STUN server says how this machine is seen"}
	case r.VPN.State == Yes:
		return nats{Unknown, Unknown, foreign, "the VPN hides the line below it"}
	case slices.ContainsFunc(c.mapped, func(a netip.Addr) bool { return space(a) != "public" }):
		return nats{Unknown, Unknown, foreign, "the server is not on the internet: it sees a private address"}
	case foreign == 0:
		return nats{No, No, 0, "there is no NAT"}
	case c.at == 1:
		return nats{No, No, 1, "the first router has the public address itself"}
	case has && c.passed > 0:
		return nats{Unknown, Unknown, 1, fmt.Sprintf("the router says by %s that it has the public address, yet packets to that address pass it", c.by)}
	case has:
		return nats{No, No, 1, fmt.Sprintf("the router says by %s that it has the public address %s itself", c.by, c.external)}
	case space(c.external) == "shared":
		return nats{Yes, Yes, 2, fmt.Sprintf("the router's own address, by %s, is %s: the operator translates it (RFC 6598)", c.by, c.external)}
	case space(local) == "shared":
		return nats{Unknown, Unknown, 1, fmt.Sprintf("this machine's own address %s is of the space behind operators' NATs (RFC 6598), which some clouds use, too", local)}
	}
	return r.hidden(c)
}

// hidden is for a router that does not tell that it has the public address.
func (r *Report) hidden(c clues) nats {
	shared := r.sharedHop()
	home := len(r.Hops) > 0 && r.Hops[0].State == "router" && r.Hops[0].Address == r.Local.Gateway && r.Hops[0].Space == "private"
	private := space(c.external) == "private"
	own := fmt.Sprintf("the router's own address, by %s, is %s", c.by, c.external)
	switch {
	case c.behind() && shared != nil && home:
		n := nats{Yes, Yes, 2, fmt.Sprintf("hop %d is %s, of the space behind operators' NATs (RFC 6598), and the public address is %s, not at the first router", shared.TTL, shared.Address, c.where())}
		if private {
			n.layers++
		}
		return n
	case private:
		return nats{Unknown, Yes, 2, own + ", which another NAT translates: a second router, or the operator"}
	case c.external.IsValid() && c.behind():
		return nats{Unknown, Yes, 2, own + ", and the public one is " + c.where()}
	case c.external.IsValid():
		return nats{Unknown, Unknown, 1, own + ", and the server sees another: a second NAT, or a second line"}
	case c.behind():
		return nats{Unknown, Unknown, 1, "the public address is not at the first router but " + c.where() + "; whether the first one translates is not known"}
	case shared != nil:
		return nats{Unknown, Unknown, 1, fmt.Sprintf("hop %d is %s, of the space behind operators' NATs (RFC 6598), yet it is not known who has the public address", shared.TTL, shared.Address)}
	case r.Hops == nil:
		return nats{Unknown, Unknown, 1, "who has the public address: tracing is " + notHere}
	}
	return nats{Unknown, Unknown, 1, "no router tells who has the public address"}
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
