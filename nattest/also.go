package nattest

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/stun/v3"
)

// Bounds on the servers of Config.Also.
const (
	maxAlso      = 4 // entries
	alsoPorts    = 2 // of each
	alsoPatience = 1200 * time.Millisecond
)

// alsoAt is one entry of Config.Also.
type alsoAt struct {
	host  string
	ports []uint16 // none: those of its /nattest.json, or else 3478
	bases []base
}

// parseAlso reads stun:host:port, host:port or host.
func parseAlso(s string) (alsoAt, error) {
	if strings.HasPrefix(s, "stun:") {
		u, err := stun.ParseURI(s)
		if err != nil || !validHost(u.Host) || u.Port < 1 || u.Port > 65535 {
			return alsoAt{}, &Error{Usage: true, Reason: "STUN server \"" + Clean(s) + "\" is not a stun: URI", Hint: "use stun:HOST or stun:HOST:PORT"}
		}
		return alsoAt{host: u.Host, ports: []uint16{uint16(u.Port)}}, nil
	}
	if host, port, err := net.SplitHostPort(s); err == nil && validHost(host) && validPort(port) {
		n, _ := strconv.ParseUint(port, 10, 16)
		return alsoAt{host: host, ports: []uint16{uint16(n)}}, nil
	}
	t, err := parseTarget(s)
	return alsoAt{host: t.host, bases: t.bases}, err
}

// alsoEndpoints looks the servers of Config.Also up. Addresses of the server
// itself are left out: they would prove nothing, and look like a second server
// that agrees with the first.
func (c *Config) alsoEndpoints(ctx context.Context, own []netip.Addr) (eps []netip.AddrPort, notes []string) {
	ctx, cancel := context.WithTimeout(ctx, alsoPatience)
	defer cancel()
	type result struct {
		eps   []netip.AddrPort
		notes []string
	}
	results := make([]result, len(c.Also))
	var wg sync.WaitGroup
	for i, s := range c.Also {
		wg.Go(func() {
			r := &results[i]
			at, err := parseAlso(s)
			if err != nil {
				return // prepare has refused it
			}
			addrs, err := c.lookup(ctx, at.host)
			if err != nil {
				r.notes = []string{at.host + " could not be looked up: " + plain(err)}
				return
			}
			seen := map[bool]bool{}
			for _, a := range addrs {
				switch {
				case slices.Contains(own, a):
					r.notes = append(r.notes, at.host+" is at "+a.String()+", an address of the server itself: it is no second opinion")
				case !seen[a.Is4()]:
					seen[a.Is4()] = true
					for _, p := range c.alsoPorts(ctx, at) {
						r.eps = append(r.eps, netip.AddrPortFrom(a, p))
					}
				}
			}
		})
	}
	wg.Wait()
	for _, r := range results {
		notes = append(notes, r.notes...)
		for _, ep := range r.eps {
			if !slices.Contains(eps, ep) {
				eps = append(eps, ep)
			}
		}
	}
	return eps, notes
}

// alsoPorts are the ports that were named, or that a turnkey server tells.
func (c *Config) alsoPorts(ctx context.Context, at alsoAt) []uint16 {
	if at.ports != nil {
		return at.ports
	}
	found := make(chan []uint16, len(at.bases))
	for _, b := range at.bases {
		go func() {
			var ports []uint16
			if resp, body, err := c.get(ctx, b.url+"/nattest.json", ""); err == nil && resp.StatusCode == http.StatusOK {
				ports = portsOf(parseNattest(body), at.host)
			}
			found <- ports
		}()
	}
	var ports []uint16
	for range at.bases { // all of them: none is left behind
		if p := <-found; ports == nil {
			ports = p
		}
	}
	if ports == nil {
		return []uint16{stun.DefaultPort}
	}
	return ports
}

// portsOf lists the STUN ports that a document has for a host.
func portsOf(d document, host string) (out []uint16) {
	for _, s := range d.stun {
		h, p, _ := net.SplitHostPort(s)
		n, err := strconv.ParseUint(p, 10, 16)
		if err == nil && (h == "" || h == host) && len(out) < alsoPorts && !slices.Contains(out, uint16(n)) {
			out = append(out, uint16(n))
		}
	}
	return out
}
