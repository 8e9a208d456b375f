package configs

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// parseHost reads a DNS name, which it turns to lower case, or an address without brackets.
func parseHost(s string) (string, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		if !unicast(addr) || addr.Zone() != "" {
			return "", &problem{"not an address that clients can reach", "write e.g. 203.0.113.7 or turn.example.com"}
		}
		return addr.Unmap().String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if !dnsName(name) {
		return "", &problem{"not a DNS name or IP address", "write e.g. turn.example.com, without scheme, brackets and port"}
	}
	return name, nil
}

// dnsName reports whether s is a host name of RFC 1123, 2.1, in lower case. One whose last label is a
// number would be taken for an address.
func dnsName(s string) bool {
	if len(s) > 253 {
		return false
	}
	var label string
	for label = range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return strings.Trim(label, "0123456789") != ""
}

// parseHTTP reads host:port, the host empty, a name or an address, and returns the port.
func parseHTTP(s string) (uint16, error) {
	host, service, err := net.SplitHostPort(s)
	if err != nil {
		return 0, &problem{"not of the form host:port", "write e.g. :8080 or 127.0.0.1:8080"}
	}
	port, err := parsePort(service)
	if err != nil {
		return 0, err
	}
	if addr, err := netip.ParseAddr(host); err == nil && !addr.IsMulticast() {
		return port, nil
	}
	if host != "" && !dnsName(strings.ToLower(host)) {
		return 0, &problem{"the host is not a name or address", "write e.g. :8080 or 127.0.0.1:8080"}
	}
	return port, nil
}

// parseOrigin reads scheme://host[:port] and returns it as browsers send it: in lower case, without
// the port that the scheme implies.
func parseOrigin(s string) (string, error) {
	malformed := &problem{"not of the form scheme://host[:port]", "write e.g. https://app.example.com, without a path"}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.User != nil || !strings.EqualFold(s, u.Scheme+"://"+u.Host) {
		return "", malformed
	}
	host, err := parseHost(u.Hostname())
	if err != nil || strings.HasSuffix(u.Host, ":") {
		return "", malformed
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	implied := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if port := u.Port(); port != "" && port != implied {
		if _, err := parsePort(port); err != nil {
			return "", err
		}
		host += ":" + port
	}
	return u.Scheme + "://" + host, nil
}

// checkServer refuses what is not host:port of a server elsewhere.
func checkServer(s string) error {
	host, service, err := net.SplitHostPort(s)
	if err != nil {
		return &problem{"not of the form host:port", "write e.g. stun.example.com:3478 or [2001:db8::7]:3478"}
	}
	if _, err := parsePort(service); err != nil {
		return err
	}
	_, err = parseHost(host)
	return err
}

func errNoAddrPort() error {
	return &problem{"not an address and port that clients can reach", "write e.g. 203.0.113.8:3478 or [2001:db8::8]:3478"}
}
