package around

import "strings"

// Line is a line of text for a person.
type Line struct{ Label, Text string }

// Lines says in few lines what was found, the gravest first. What was not
// found, or not looked for, is left out.
func (r *Report) Lines() []Line {
	var l []Line
	add := func(label, text string) { l = append(l, Line{label, text}) }
	if r.CaptivePortal.State == Yes {
		add("portal", r.CaptivePortal.Why)
	}
	if r.VPN.State == Yes {
		add("VPN", r.VPN.Why)
	}
	switch {
	case r.CGN.State == Yes:
		add("CGN", "the operator translates addresses, too: "+r.CGN.Why)
	case r.DoubleNAT.State == Yes:
		add("2nd NAT", r.DoubleNAT.Why)
	}
	if hops := r.path(); hops != "" && r.CGN.State != No {
		add("hops", hops)
	}
	if r.Advice != "" {
		add("router", r.Advice)
	}
	if r.HTTP.State == "differs" {
		add("HTTP", r.HTTP.Why)
	}
	return l
}

// path lists the routers on the way that answered, "" if none did.
func (r *Report) path() string {
	var parts []string
	routers := 0
	for _, h := range r.Hops {
		switch h.State {
		case "router":
			routers++
			parts = append(parts, h.Address.String())
		case "reached":
			parts = append(parts, "the server")
		default:
			parts = append(parts, "?")
		}
	}
	if routers == 0 {
		return ""
	}
	for len(parts) > 0 && parts[len(parts)-1] == "?" {
		parts = parts[:len(parts)-1]
	}
	return strings.Join(parts, ", ")
}
