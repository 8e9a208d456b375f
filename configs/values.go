package configs

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// PublicIP says how the server learns the address at which the internet reaches it: by itself (the
// zero value), because it is told the address, or by looking up a name.
type PublicIP struct {
	Addr netip.Addr // valid if the address is given
	DNS  string     // the name, in lower case, if one is to be looked up
}

// UnmarshalText reads auto, an address, or dns:name.
func (p *PublicIP) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "auto" {
		*p = PublicIP{}
		return nil
	}
	if name, found := strings.CutPrefix(s, "dns:"); found {
		name, err := parseHost(name)
		if _, addr := netip.ParseAddr(name); err != nil || addr == nil {
			return &problem{"what follows dns: is not a DNS name", "write e.g. dns:turn.example.com"}
		}
		*p = PublicIP{DNS: name}
		return nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || !unicast(addr) || addr.Zone() != "" {
		return &problem{"not an address that clients can reach", "write auto, an address such as 203.0.113.7, or dns:turn.example.com"}
	}
	*p = PublicIP{Addr: addr.Unmap()}
	return nil
}

// String is the form that UnmarshalText reads.
func (p PublicIP) String() string {
	switch {
	case p.DNS != "":
		return "dns:" + p.DNS
	case p.Addr.IsValid():
		return p.Addr.String()
	}
	return "auto"
}

// AltIP is a second address of the server, as the internet and as the machine knows it. The zero value
// is none.
type AltIP struct {
	Addr  netip.Addr // at which the internet reaches it
	Bound netip.Addr // of this machine; invalid if that is to be found out
}

// UnmarshalText reads address or address/address.
func (a *AltIP) UnmarshalText(text []byte) error {
	outside, inside, both := strings.Cut(string(text), "/")
	var alt AltIP
	var err error
	if alt.Addr, err = netip.ParseAddr(outside); err != nil || !unicast(alt.Addr) || alt.Addr.Zone() != "" {
		return &problem{"not an address that clients can reach", "write e.g. 203.0.113.8, or 203.0.113.8/10.0.0.8 with the address of this machine that it leads to"}
	}
	alt.Addr = alt.Addr.Unmap()
	if both {
		if alt.Bound, err = netip.ParseAddr(inside); err != nil || !unicast(alt.Bound) || alt.Bound.Zone() != "" {
			return &problem{"what follows the slash is not an address of this machine", "write e.g. 203.0.113.8/10.0.0.8"}
		}
		if alt.Bound = alt.Bound.Unmap(); alt.Bound.Is4() != alt.Addr.Is4() {
			return &problem{"one address is IPv4 and the other IPv6", "write two of one family, e.g. 203.0.113.8/10.0.0.8"}
		}
	}
	*a = alt
	return nil
}

// String is the form that UnmarshalText reads; the zero value is empty.
func (a AltIP) String() string {
	switch {
	case !a.Addr.IsValid():
		return ""
	case a.Bound.IsValid():
		return a.Addr.String() + "/" + a.Bound.String()
	}
	return a.Addr.String()
}

// PortRange is the ports from Min to Max, both included.
type PortRange struct{ Min, Max uint16 }

// UnmarshalText reads first-last, or one port, each 1 to 65535.
func (r *PortRange) UnmarshalText(text []byte) error {
	first, last, found := strings.Cut(string(text), "-")
	if !found {
		last = first
	}
	low, err := parsePort(first)
	high, err2 := parsePort(last)
	if err != nil || err2 != nil {
		return &problem{"not a port or range of ports, each 1 to 65535", "write first-last, e.g. 49160-49359"}
	}
	if low > high {
		return &problem{"the first port is above the last", "write e.g. 49160-49359"}
	}
	*r = PortRange{low, high}
	return nil
}

// String is the form that UnmarshalText reads; the zero range is empty.
func (r PortRange) String() string {
	switch {
	case r == PortRange{}:
		return ""
	case r.Min == r.Max:
		return strconv.Itoa(int(r.Min))
	}
	return fmt.Sprintf("%d-%d", r.Min, r.Max)
}

// Contains reports whether port is in the range.
func (r PortRange) Contains(port uint16) bool { return r.Min <= port && port <= r.Max }

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err == nil && n > 0 {
		return uint16(n), nil
	}
	if strings.Contains(s, "://") {
		return 0, &problem{"not a port but what Kubernetes sets for a service named turnkey", "set enableServiceLinks: false in the pod"}
	}
	return 0, &problem{fmt.Sprintf("%.20q is not a port", s), "write a number from 1 to 65535"}
}

func parseNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, &problem{fmt.Sprintf("%.20q is not a whole number", s), "write digits only"}
	}
	return n, nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, &problem{"not a duration with its unit", "write e.g. 30s, 10m or 12h"}
	}
	return d, nil
}

// parseWord takes every entry of a list as it is; who uses the list checks it.
func parseWord(s string) (string, error) { return s, nil }

// parseList reads entries separated by commas. It never repeats an entry: it may be a secret.
func parseList[T any](s string, parse func(string) (T, error)) ([]T, error) {
	var list []T
	entries := strings.Split(s, ",")
	for i, entry := range entries {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			return nil, &problem{fmt.Sprintf("entry %d is empty", i+1), "remove the comma too many"}
		}
		v, err := parse(entry)
		if err != nil {
			return nil, inEntry(i, len(entries), err)
		}
		list = append(list, v)
	}
	return list, nil
}

// inEntry says which entry of a list of n, counted from 0, has the problem.
func inEntry(i, n int, err error) error {
	if p, ok := err.(*problem); ok && n > 1 {
		return &problem{fmt.Sprintf("entry %d: %s", i+1, p.what), p.fix}
	}
	return err
}
