package web

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwarding lists the headers by which proxies say that a request is not
// their own. One of them is enough to know that the peer is not the client.
func forwarding() []string {
	return []string{
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server",
		"Forwarded", "Via", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Original-Forwarded-For",
		"X-Original-Host", "Cf-Connecting-Ip", "Cf-Ray", "True-Client-Ip", "Fastly-Client-Ip", "Fly-Client-Ip",
		"X-Envoy-External-Address", "X-Appengine-User-Ip", "X-Azure-Clientip", "Cdn-Loop",
	}
}

// Client returns the address of the client: the peer's, or, if the peer is a
// trusted proxy that sent X-Forwarded-For, the rightmost address there that
// is no trusted proxy's. Mapped addresses are unmapped, zones dropped. It is
// invalid if that entry is no address.
func (a *Access) Client(r *http.Request) netip.Addr {
	client := peer(r)
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	if len(r.Header["X-Forwarded-For"]) == 0 {
		return client
	}
	for i := len(hops) - 1; i >= 0 && a.trusted(client); i-- {
		client = parseHop(hops[i])
	}
	return client
}

func (a *Access) trusted(addr netip.Addr) bool {
	return slices.ContainsFunc(a.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// local says why client, the sender of r, is no local client, nil if it is
// one. What matters is that neither a proxy, nor a container's port forward,
// nor a public name that points at a private address (DNS rebinding) makes
// somebody else look like one.
func (a *Access) local(r *http.Request, client netip.Addr) *Error {
	if header := a.unknownProxy(r); header != "" {
		return errForwarded(header)
	}
	for _, g := range a.Gateways {
		if client == plain(g) {
			return errGateway(client)
		}
	}
	if !isLocal(client) {
		return errNotLocal(client)
	}
	for _, host := range append([]string{r.Host}, r.Header["X-Forwarded-Host"]...) {
		if name, addr := parseHost(host); !isLocal(addr) && !isLocalhost(name) {
			return errHost(host)
		}
	}
	return nil
}

// unknownProxy names the sign by which r came through a proxy that cannot be
// believed, or "". A trusted proxy has to say who its client is; on loopback
// a silent one may as well be a program of this host. HTTP/1.0 is what common
// proxies speak to their upstream unless told otherwise.
func (a *Access) unknownProxy(r *http.Request) string {
	from := peer(r)
	trusted := a.trusted(from)
	if trusted && r.Header["X-Forwarded-For"] != nil {
		return ""
	}
	for _, h := range forwarding() {
		if r.Header[h] != nil {
			return h
		}
	}
	if trusted && !from.IsLoopback() {
		return "no X-Forwarded-For"
	}
	if !r.ProtoAtLeast(1, 1) {
		return "HTTP/1.0"
	}
	return ""
}

// direct tells whether r comes straight from this host, for this host.
func (a *Access) direct(r *http.Request) bool {
	name, addr := parseHost(r.Host)
	from := peer(r)
	return from.IsLoopback() && a.unknownProxy(r) == "" && a.local(r, from) == nil &&
		r.Header["X-Forwarded-For"] == nil && (addr.IsLoopback() || isLocalhost(name))
}

// isLocal knows loopback, RFC 1918, ULA (RFC 4193) and link-local addresses.
// The shared space of RFC 6598 is not among them: others' clients live there.
func isLocal(a netip.Addr) bool {
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
}

// isLocalhost knows the names that never leave the host (RFC 6761, section
// 6.3). Any other name may be made to point here by somebody else.
func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// plain is a without IPv4 mapping and zone, as prefixes and lists have it.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func peer(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	return plain(ap.Addr())
}

// parseHop reads an entry of X-Forwarded-For: an address, with or without
// brackets, with or without a port.
func parseHop(s string) netip.Addr {
	s = strings.TrimSpace(s)
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return plain(ap.Addr())
	}
	addr, _ := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return plain(addr)
}

// parseHost splits a Host header (RFC 9110, section 7.2) into its name, lower
// case, or its address. Both are empty if it is malformed.
func parseHost(s string) (name string, addr netip.Addr) {
	host, port, _ := strings.Cut(s, ":")
	if in, rest, ok := strings.Cut(s, "]"); ok && strings.HasPrefix(s, "[") {
		host, port = in[1:], strings.TrimPrefix(rest, ":")
		if !strings.Contains(host, ":") || rest != "" && rest[0] != ':' {
			return "", netip.Addr{}
		}
	}
	if strings.Trim(port, "0123456789") != "" || len(port) > 5 {
		return "", netip.Addr{}
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		return "", plain(addr)
	}
	if strings.ContainsAny(host, "[]@/ ,") {
		return "", netip.Addr{}
	}
	return host, netip.Addr{}
}
