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
	if !ok {
		return Candidate{}, false
	}
	var c Candidate
	n, typ, name := 0, "", "" // fields so far, the word before the type, the name of an extension
	for f := range strings.FieldsSeq(rest) {
		switch {
		case n == 2:
			c.Transport = strings.ToLower(f)
		case n == 4:
			c.Address = f
		case n == 6:
			typ = f
		case n == 7:
			c.Type = f
		case n > 7 && n%2 == 0:
			name = f
		case n > 7 && name == "ufrag":
			c.Ufrag = f
		}
		n++
	}
	if n < 8 || typ != "typ" || !slices.Contains([]string{"host", "srflx", "prflx", "relay"}, c.Type) {
		return Candidate{}, false
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
