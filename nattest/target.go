package nattest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is what a person typed as HOST.
type target struct {
	host  string // a name or an address without brackets
	bases []base // where HTTP may be, in the order to try
}

// base is one place of the HTTP API.
type base struct {
	url string // without a trailing slash
	key bool   // the key may be sent there
}

// parseTarget reads host, host:port or an http(s) URL.
func parseTarget(s string) (target, error) {
	bad := func(reason string) (target, error) {
		return target{}, &Error{
			Usage: true, Reason: fmt.Sprintf("host %q: %s", Clean(s), reason),
			Hint: "use turn.example.org, turn.example.org:8080, 203.0.113.5 or https://turn.example.org",
		}
	}
	switch {
	case s == "":
		return bad("is empty")
	case strings.Contains(s, "://"):
		u, err := url.Parse(s)
		if err != nil {
			return bad("is not a URL")
		}
		if u.Scheme != "http" && u.Scheme != "https" {
			return bad("the scheme must be http or https")
		}
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
			return bad("a URL here has no user, query or fragment")
		}
		if !validHost(u.Hostname()) || (u.Port() != "" && !validPort(u.Port())) {
			return bad("has no valid host and port")
		}
		return target{u.Hostname(), []base{{strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), true}}}, nil
	}
	host, port := s, ""
	if h, p, err := net.SplitHostPort(s); err == nil {
		if host, port = h, p; !validPort(port) {
			return bad("the port must be 1 to 65535")
		}
	} else if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		host = s[1 : len(s)-1]
	}
	if !validHost(host) {
		return bad("is neither a host name nor an address")
	}
	return target{host, guessBases(host, port)}, nil
}

// guessBases lists where HTTP may be when no URL was given. A key must not
// fall back to plain http because somebody on the way blocks https: for a name
// that wants a URL or a plain-http port. An address has no certificate to lose.
func guessBases(host, port string) []base {
	_, err := netip.ParseAddr(host)
	literal := err == nil || host == "localhost"
	at := func(scheme, port string) string {
		return strings.TrimSuffix(scheme+"://"+net.JoinHostPort(host, port), map[string]string{"https": ":443", "http": ":80"}[scheme])
	}
	switch port {
	case "":
		return []base{{at("https", "443"), true}, {at("http", "8080"), literal}}
	case "80", "8080":
		return []base{{at("http", port), true}}
	case "443", "8443":
		return []base{{at("https", port), true}}
	}
	return []base{{at("https", port), true}, {at("http", port), literal}}
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// validHost accepts an address without a zone or a name of letters, digits,
// dots, hyphens and underscores (an international name in its xn-- form).
func validHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast()
	}
	if len(s) > 253 || s == "" || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, r := range s {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_') {
			return false
		}
	}
	return true
}

// maxAddrs bounds how many addresses of a name are used, of each family.
const maxAddrs = 4

// lookup returns the distinct addresses of a host, IPv4 first.
func (c *Config) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	found, err := c.Resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	count := map[bool]int{}
	for _, a := range found {
		a = a.Unmap().WithZone("")
		if a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !slices.Contains(out, a) && count[a.Is4()] < maxAddrs {
			count[a.Is4()]++
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no address found for %s", host)
	}
	slices.SortStableFunc(out, func(a, b netip.Addr) int { return cmp.Compare(a.BitLen(), b.BitLen()) })
	return out, nil
}

// Clean makes text from outside fit to print: one line, no control characters,
// no more than 200 bytes.
func Clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:197], "") + "..."
	}
	return strings.Join(strings.Fields(s), " ")
}
