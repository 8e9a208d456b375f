package around

import (
	"net/netip"
)

// What a Finding or a Protocol may say.
const (
	Yes       = "yes"
	No        = "no"
	Unknown   = "unknown"    // looked for, and the evidence does not suffice
	NotTested = "not_tested" // nothing was looked for
	Available = "available"  // a protocol answers and serves
	Absent    = "absent"     // the router says that nobody listens
	Refused   = "refused"    // a protocol answers and does not serve
)

// Report is what is around a NAT. docs/nat.md describes its JSON.
type Report struct {
	Local         Local    `json:"local"`
	VPN           Finding  `json:"vpn"`        // the way to the server leads through a VPN
	CGN           Finding  `json:"cgn"`        // the operator translates (RFC 6888)
	DoubleNAT     Finding  `json:"double_nat"` // two NATs or more, one behind the other
	Layers        int      `json:"layers"`     // NATs on the way, at least
	Hops          []Hop    `json:"hops"`       // the way to the server, four routers at most
	OwnHops       []Hop    `json:"own_hops"`   // the way to the address that the server saw: who has it
	NATPMP        Protocol `json:"nat_pmp"`    // RFC 6886
	PCP           Protocol `json:"pcp"`        // RFC 6887
	UPnP          Protocol `json:"upnp"`       // UPnP Internet Gateway Device
	CaptivePortal Finding  `json:"captive_portal"`
	HTTP          HTTP     `json:"http"`
	Advice        string   `json:"advice,omitempty"` // what the router offers

	mapped netip.AddrPort // what one socket of Look was seen as
}

// Finding is an answer that may be unknown, and why it is what it is.
type Finding struct {
	State string `json:"state"` // yes, no, unknown or not_tested
	Why   string `json:"why,omitempty"`
}

// Local is this machine's way to the server.
type Local struct {
	Interface string         `json:"interface,omitempty"` // "" when it is not known
	Kind      string         `json:"kind,omitempty"`
	Address   netip.Addr     `json:"address,omitzero"`
	MTU       int            `json:"mtu,omitempty"` // bytes
	Addresses []netip.Prefix `json:"addresses"`     // all of the interface, IPv4 and IPv6
	Gateway   netip.Addr     `json:"gateway,omitzero"`
	Why       string         `json:"why,omitempty"` // what is not known
}

// Hop is what came back for packets that lived for TTL hops.
type Hop struct {
	TTL     int        `json:"ttl"`
	State   string     `json:"state"`            // router, reached, unreachable or silent
	Address netip.Addr `json:"address,omitzero"` // who answered
	Space   string     `json:"space,omitempty"`  // of Address: private, shared (RFC 6598) or public
	Sends   int        `json:"sends"`
}

// Protocol is one protocol by which a router opens ports.
type Protocol struct {
	State    string     `json:"state"` // available, absent, refused, unknown or not_tested
	Why      string     `json:"why,omitempty"`
	External netip.Addr `json:"external,omitzero"` // the router's address on the other side
	Mapping  string     `json:"mapping"`           // could a port be opened: yes, no, unknown or not_tested
	Server   string     `json:"server,omitempty"`  // what it calls itself
}

// HTTP compares the address that the web server saw with those of STUN.
type HTTP struct {
	Seen  netip.Addr `json:"seen,omitzero"`
	State string     `json:"state"` // same, differs, unknown
	Why   string     `json:"why,omitempty"`
}

// skip says why nothing was tested.
func (r *Report) skip(why string) {
	r.Local.Why = why
	r.VPN = Finding{NotTested, why}
	for _, p := range []*Protocol{&r.NATPMP, &r.PCP, &r.UPnP} {
		*p = Protocol{State: NotTested, Why: why, Mapping: NotTested}
	}
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// space names the kind of an address.
func space(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return ""
	case sharedSpace.Contains(a):
		return "shared"
	case a.IsGlobalUnicast() && !a.IsPrivate():
		return "public"
	}
	return "private"
}
