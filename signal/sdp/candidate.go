package sdp

import (
	"net/netip"
	"slices"
	"strings"
)

// Candidate is an ICE candidate (RFC 8839 section 5.1).
type Candidate struct {
	Transport string // udp or tcp, in lower case
	Address   string // an IP address or a name that ends in .local
	Type      string // host, srflx, prflx or relay
	Ufrag     string // "" = not said
}

// ParseCandidate reads a candidate in the form that browsers give it,
// "candidate:…".
func ParseCandidate(line string) (Candidate, bool) {
	rest, ok := strings.CutPrefix(line, "candidate:")
	f := strings.Fields(rest)
	if !ok || len(f) < 8 || f[6] != "typ" {
		return Candidate{}, false
	}
	c := Candidate{Transport: strings.ToLower(f[2]), Address: f[4], Type: f[7]}
	if !slices.Contains([]string{"host", "srflx", "prflx", "relay"}, c.Type) {
		return Candidate{}, false
	}
	for i := 8; i+1 < len(f); i += 2 {
		if f[i] == "ufrag" {
			c.Ufrag = f[i+1]
		}
	}
	return c, true
}

// Local says that nobody outside its machine, or outside its own network, can
// reach the candidate: a loopback or link-local address, or a name for mDNS.
func (c Candidate) Local() bool {
	if strings.HasSuffix(c.Address, ".local") {
		return true
	}
	a, err := netip.ParseAddr(c.Address)
	return err == nil && (a.IsLoopback() || a.IsLinkLocalUnicast())
}
