package configs

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// check refuses values that can be read but not used, alone or together.
func (l *loader) check() {
	c := &l.cfg
	if c.Host != "" {
		host, err := parseHost(c.Host)
		c.Host = host
		l.refuse("HOST", err)
	}
	if duplicate, found := firstDuplicate(c.Listen); found {
		l.refuse("LISTEN", &problem{duplicate.String() + " is listed twice", "list each address once"})
	}
	l.checkAltIP()
	l.checkPorts()
	for i, server := range c.STUNServers {
		if err := checkServer(server); err != nil {
			l.refuse("STUN_SERVERS", inEntry(i, len(c.STUNServers), err))
		}
	}
	l.refuse("REALM", checkRealm(c.Realm))
	l.refuse("CREDENTIAL_TTL", within(c.CredentialTTL, time.Minute, 168*time.Hour))
	l.refuse("AUTH", oneOf(c.Auth, AuthLocal, AuthKey, AuthOpen))
	l.checkWeb()
	for name, n := range map[string]int{
		"MAX_ALLOCATIONS": c.MaxAllocations, "MAX_ALLOCATIONS_PER_USER": c.MaxAllocationsPerUser, "MAX_ALLOCATIONS_PER_IP": c.MaxAllocationsPerIP,
		"MAX_PERMISSIONS": c.MaxPermissions, "MAX_CHANNELS": c.MaxChannels, "MAX_CONNECTIONS_PER_IP": c.MaxConnectionsPerIP, "UNAUTH_RATE": c.UnauthRate,
	} {
		l.refuse(name, between(n, 0, 1000000))
	}
	if c.MaxSession != 0 {
		l.refuse("MAX_SESSION", within(c.MaxSession, time.Minute, 8760*time.Hour))
	}
	l.refuse("BANDWIDTH", checkBandwidth(c.Bandwidth))
	l.refuse("BANDWIDTH_PER_USER", checkBandwidth(c.BandwidthPerUser))
	l.refuse("BANDWIDTH_PER_ALLOCATION", checkBandwidth(c.BandwidthPerAllocation))
	l.refuse("ROOM_MAX", between(c.RoomMax, 2, 64))
	l.refuse("ROOMS_MAX", between(c.RoomsMax, 1, 1000000))
	l.refuse("PEERS_PER_IP", between(c.PeersPerIP, 1, 100000))
	l.checkWebhook()
	l.refuse("DRAIN_TIMEOUT", within(c.DrainTimeout, 0, time.Hour))
	if at := c.Alternate; at != (netip.AddrPort{}) {
		if !unicast(at.Addr()) || at.Addr().Zone() != "" || at.Port() == 0 {
			l.refuse("ALTERNATE", errNoAddrPort())
		}
		c.Alternate = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	l.refuse("LOG_FORMAT", oneOf(c.LogFormat, LogText, LogJSON))
	for _, rule := range c.AllowPeers {
		if rule.Prefix.Bits() == 0 {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%sALLOW_PEERS=%s lets relays reach every private network and this machine; name only the addresses that they need", Prefix, rule))
		}
	}
}

// checkAltIP refuses a second address that is the first, or that is not listened on.
func (l *loader) checkAltIP() {
	alt, listen := l.cfg.AltIP, l.cfg.Listen
	if alt.Addr.IsValid() && alt.Addr == l.cfg.PublicIP.Addr {
		l.refuse("ALT_IP", &problem{"the address is that of " + Prefix + "PUBLIC_IP", "name a second one, or leave it unset"})
	}
	if alt.Bound.IsValid() && len(listen) > 0 && !slices.Contains(listen, alt.Bound) {
		l.refuse("ALT_IP", &problem{fmt.Sprintf("%s is not in %sLISTEN", alt.Bound, Prefix), "add it there, or leave " + Prefix + "LISTEN unset"})
	}
}

// checkPorts sees to it that no port serves two purposes.
func (l *loader) checkPorts() {
	c := &l.cfg
	web, err := parseHTTP(c.HTTP)
	l.refuse("HTTP", err)
	uses := []use{{"PORT", c.Port}, {"ALT_PORT", c.AltPort}, {"HTTP", web}}
	if secure := l.checkTLS(); c.TLSCert != "" {
		uses = append(uses, use{"TLS_PORT", c.TLSPort}, use{"HTTPS", secure})
	}
	for i, u := range uses {
		for _, before := range uses[:i] {
			if u.port != 0 && u.port == before.port {
				l.refuse(u.short, &problem{"the port is that of " + Prefix + before.short, "choose another"})
				break
			}
		}
	}
	if c.RelayPorts.Min < 1024 {
		l.refuse("RELAY_PORTS", &problem{"ports below 1024 belong to the system", "write e.g. 49160-49359"})
	}
	for _, u := range uses {
		if u.port != 0 && c.RelayPorts.Contains(u.port) {
			l.refuse("RELAY_PORTS", &problem{fmt.Sprintf("port %d of %s%s lies within", u.port, Prefix, u.short), "choose a range without it"})
		}
	}
}

// use is a port and the setting, without its prefix, that gives it a purpose.
type use struct {
	short string
	port  uint16
}

// checkTLS settles where HTTPS is served, and returns its port, 0 if nowhere.
func (l *loader) checkTLS() uint16 {
	c := &l.cfg
	_, err := checkFile(c.TLSCert, "the certificate")
	l.refuse("TLS_CERT", err)
	mode, err := checkFile(c.TLSKey, "the private key")
	l.refuse("TLS_KEY", err)
	l.warnOfReaders("TLS_KEY", c.TLSKey, mode)
	switch {
	case c.TLSCert != "" && l.values[Prefix+"TLS_KEY"] == "":
		l.refuse("TLS_CERT", &problem{"TURNKEY_TLS_KEY is not set", "set it to the file that holds the private key"})
	case c.TLSKey != "" && l.values[Prefix+"TLS_CERT"] == "":
		l.refuse("TLS_KEY", &problem{"TURNKEY_TLS_CERT is not set", "set it to the file that holds the certificate"})
	}
	switch {
	case c.HTTPS == HTTPSOff:
		return 0
	case c.HTTPS != "":
		port, err := parseHTTP(c.HTTPS)
		if err == nil && c.TLSCert == "" && l.values[Prefix+"TLS_CERT"] == "" {
			err = &problem{"there is no certificate", "set TURNKEY_TLS_CERT and TURNKEY_TLS_KEY, or leave it unset"}
		}
		l.refuse("HTTPS", err)
		return port
	case c.TLSCert != "":
		c.HTTPS = ":443"
		return 443
	}
	return 0
}

// checkWeb brings the origins into the form that browsers send and refuses to trust every proxy.
func (l *loader) checkWeb() {
	c := &l.cfg
	for i, origin := range c.Origins {
		if origin == "*" {
			if len(c.Origins) > 1 {
				l.refuse("ORIGINS", &problem{"* stands among other origins", "write * alone, or a list without it"})
			}
			continue
		}
		normal, err := parseOrigin(origin)
		c.Origins[i] = normal
		if err != nil {
			l.refuse("ORIGINS", inEntry(i, len(c.Origins), err))
		}
	}
	for i, proxies := range c.TrustedProxies {
		if proxies.Bits() == 0 {
			l.refuse("TRUSTED_PROXIES", inEntry(i, len(c.TrustedProxies), &problem{"everybody would be a trusted proxy and could pretend to be any client", "name the addresses of your proxies"}))
		}
	}
}

// checkWebhook refuses a URL that nothing can be sent to, or that is not signed for.
func (l *loader) checkWebhook() {
	c := &l.cfg
	l.refuse("WEBHOOK_FAIL", oneOf(c.WebhookFail, FailDeny, FailAllow))
	_, err := checkFile(c.JWTKeys, "the keys")
	l.refuse("JWT_KEYS", err)
	secret := "WEBHOOK_SECRET"
	if l.values[Prefix+secret] == "" {
		secret = "WEBHOOK_SECRET_FILE"
	}
	if c.WebhookURL == "" {
		if l.values[Prefix+secret] != "" && l.values[Prefix+"WEBHOOK_URL"] == "" {
			l.refuse(secret, &problem{"TURNKEY_WEBHOOK_URL is not set", "set it to the address of the backend"})
		}
		return
	}
	if l.values[Prefix+secret] == "" {
		l.refuse("WEBHOOK_URL", &problem{"neither TURNKEY_WEBHOOK_SECRET nor TURNKEY_WEBHOOK_SECRET_FILE is set, so that the backend could not tell the server from others", secretFix})
	}
	u, err := url.Parse(c.WebhookURL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "":
		l.refuse("WEBHOOK_URL", &problem{"not of the form https://host[:port]/path", "write e.g. https://app.example.com/turnkey, without a user"})
	case u.Scheme == "http" && !private(u.Hostname()):
		c.Warnings = append(c.Warnings, Prefix+"WEBHOOK_URL: everybody on the way can read and change what is sent by http; use https")
	}
}

// private reports whether a host is on this machine or in a private network, as
// far as can be seen without asking anybody.
func private(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && (addr.IsLoopback() || addr.IsPrivate())
}

func checkRealm(s string) error {
	for _, b := range []byte(s) {
		if b < ' ' || b > '~' || b == '"' || b == '\'' || b == '\\' {
			return &problem{"a realm has only printable ASCII characters without quotes and backslashes", "write e.g. turn.example.com"}
		}
	}
	if len(s) > 64 {
		return &problem{fmt.Sprintf("the realm has %d characters", len(s)), "use at most 64"}
	}
	return nil
}

func within(d, low, high time.Duration) error {
	if d < low || d > high {
		return &problem{"out of range", fmt.Sprintf("write a duration from %s to %s", short(low), short(high))}
	}
	return nil
}

func between(n, low, high int) error {
	if n < low || n > high {
		return &problem{"out of range", fmt.Sprintf("write a number from %d to %d", low, high)}
	}
	return nil
}

// checkBandwidth refuses rates that let next to nothing through, which is most
// likely a number of megabits.
func checkBandwidth(bits int64) error {
	if bits != 0 && (bits < 10_000 || bits > 1_000_000_000_000) {
		return &problem{"out of range", "write bits a second from 10000 to 1000000000000, or 0 for no limit"}
	}
	return nil
}

func oneOf(s string, allowed ...string) error {
	if !slices.Contains(allowed, s) {
		return &problem{"not a choice", "write one of " + strings.Join(allowed, ", ")}
	}
	return nil
}

func firstDuplicate(addrs []netip.Addr) (netip.Addr, bool) {
	for i, addr := range addrs {
		if slices.Contains(addrs[:i], addr) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}
