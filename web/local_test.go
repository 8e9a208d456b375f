package web

import (
	"net/http"
	"testing"
)

const (
	loop   = "127.0.0.1:5000"
	lan    = "192.168.1.20:5000"
	proxy  = "10.9.0.2:5000"
	remote = "203.0.113.9:5000"
	self   = "127.0.0.1:8080"
)

func TestLocalServesOnlyWhoIsTrulyLocal(t *testing.T) {
	tests := []struct {
		name string
		r    *http.Request
		want string // code of the error, "" = granted
	}{
		{"loopback", request(loop, self), ""},
		{"loopback as localhost", request(loop, "localhost:8080"), ""},
		{"localhost in capitals with a dot", request(loop, "LocalHost.:8080"), ""},
		{"a name below localhost", request(loop, "turn.localhost"), ""},
		{"IPv6 loopback", request("[::1]:5000", "[::1]:8080"), ""},
		{"a private network", request(lan, "192.168.1.2:8080"), ""},
		{"RFC 1918, 172.16/12", request("172.31.255.1:1", "172.16.0.1"), ""},
		{"ULA", request("[fd00::9]:1", "[fd00::1]:8080"), ""},
		{"link-local with a zone", request("[fe80::9%eth0]:1", "[fe80::2%25eth0]:8080"), ""},
		{"IPv4 link-local", request("169.254.3.4:1", "169.254.0.1"), ""},
		{"mapped private address", request("[::ffff:192.168.1.20]:1", "[::ffff:192.168.1.2]:8080"), ""},

		{"public address", request(remote, "127.0.0.1:8080"), "address_denied"},
		{"public address in mapped form", request("[::ffff:203.0.113.9]:1", self), "address_denied"},
		{"public IPv6", request("[2001:db8::9]:1", "[::1]"), "address_denied"},
		{"just outside 172.16/12", request("172.32.0.1:1", self), "address_denied"},
		{"shared address space", request("100.64.0.9:1", self), "address_denied"},
		{"unspecified", request("0.0.0.0:1", self), "address_denied"},
		{"no address at all", request("@", self), "address_denied"},
		{"the default gateway", request("172.17.0.1:1", self), "address_denied"},
		{"the default gateway in mapped form", request("[::ffff:172.17.0.1]:1", self), "address_denied"},
		{"the IPv6 gateway in another zone", request("[fe80::1%eth1]:1", self), "address_denied"},

		{"rebinding to a public name", request(loop, "evil.example:8080"), "host_denied"},
		{"a name that begins like localhost", request(loop, "localhost.evil.example"), "host_denied"},
		{"a name that ends like localhost", request(loop, "evillocalhost"), "host_denied"},
		{"a single label", request(lan, "nas:8080"), "host_denied"},
		{"a name of multicast DNS", request(lan, "nas.local:8080"), "host_denied"},
		{"a wildcard DNS name of a private address", request(lan, "192.168.1.2.nip.io"), "host_denied"},
		{"a public address", request(lan, "203.0.113.7:8080"), "host_denied"},
		{"the unspecified address", request(loop, "0.0.0.0:8080"), "host_denied"},
		{"a short form of loopback", request(loop, "127.1:8080"), "host_denied"},
		{"a number", request(loop, "2130706433"), "host_denied"},
		{"no host", request(loop, ""), "host_denied"},
		{"user information", request(loop, "evil@localhost"), "host_denied"},
		{"text in place of a port", request(loop, "localhost:8080.evil.example"), "host_denied"},
		{"an open bracket", request(loop, "[::1"), "host_denied"},
		{"text after brackets", request(loop, "[::1]evil.example"), "host_denied"},
		{"IPv6 without brackets", request(loop, "::1"), "host_denied"},
		{"IPv4 in brackets", request(loop, "[127.0.0.1]"), "host_denied"},

		{"spoofed X-Forwarded-For", request(remote, self, "X-Forwarded-For: 127.0.0.1"), "forwarded_denied"},
		{"X-Forwarded-For from loopback", request(loop, self, "X-Forwarded-For: 127.0.0.1"), "forwarded_denied"},
		{"empty X-Forwarded-For", request(loop, self, "X-Forwarded-For: "), "forwarded_denied"},
		{"Forwarded", request(loop, self, "Forwarded: for=127.0.0.1"), "forwarded_denied"},
		{"Via", request(loop, self, "Via: 1.1 proxy"), "forwarded_denied"},
		{"X-Real-IP", request(loop, self, "X-Real-IP: 127.0.0.1"), "forwarded_denied"},
		{"X-Forwarded-Host", request(loop, self, "X-Forwarded-Host: localhost"), "forwarded_denied"},
		{"X-Forwarded-Proto", request(loop, self, "X-Forwarded-Proto: https"), "forwarded_denied"},
		{"CF-Connecting-IP", request(loop, self, "CF-Connecting-IP: 10.0.0.1"), "forwarded_denied"},
		{"True-Client-IP", request(loop, self, "True-Client-IP: 10.0.0.1"), "forwarded_denied"},

		{"private client behind a trusted proxy", request(proxy, "10.0.0.5", "X-Forwarded-For: 192.168.7.7", "X-Forwarded-Proto: https"), ""},
		{"with its port", request(proxy, "10.0.0.5", "X-Forwarded-For: 192.168.7.7:4711"), ""},
		{"IPv6 with brackets and port", request(proxy, "10.0.0.5", "X-Forwarded-For: [fd00::7]:4711"), ""},
		{"over a chain of trusted proxies", request("[fd09::2]:1", "10.0.0.5", "X-Forwarded-For: 192.168.7.7, 10.9.0.3"), ""},
		{"public client behind a trusted proxy", request(proxy, "10.0.0.5", "X-Forwarded-For: 198.51.100.1"), "address_denied"},
		{"client that prepends a private address", request(proxy, "10.0.0.5", "X-Forwarded-For: 127.0.0.1, 198.51.100.1"), "address_denied"},
		{"client that prepends in a header of its own", request(proxy, "10.0.0.5", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 198.51.100.1"), "address_denied"},
		{"garbage where the client should be", request(proxy, "10.0.0.5", "X-Forwarded-For: 127.0.0.1, unknown"), "address_denied"},
		{"garbage between trusted proxies", request(proxy, "10.0.0.5", "X-Forwarded-For: 127.0.0.1, x, 10.9.0.3"), "address_denied"},
		{"gateway as the client of a trusted proxy", request(proxy, "10.0.0.5", "X-Forwarded-For: 172.17.0.1"), "address_denied"},
		{"trusted proxy for a public name", request(proxy, "turn.example", "X-Forwarded-For: 192.168.7.7"), "host_denied"},
		{"trusted proxy that rewrites a public name", request(proxy, "10.0.0.5", "X-Forwarded-For: 192.168.7.7", "X-Forwarded-Host: evil.example"), "host_denied"},
		{"trusted proxy that does not name its client", request(proxy, "10.0.0.5"), "forwarded_denied"},
		{"trusted proxy that names it in another way", request(proxy, "10.0.0.5", "X-Real-IP: 192.168.7.7"), "forwarded_denied"},

		{"page of another site", request(loop, self, "Origin: https://evil.example"), "origin_denied"},
		{"script tag of another site", request(loop, self, "Sec-Fetch-Site: cross-site"), "origin_denied"},
		{"page of this server", request(loop, self, "Origin: http://127.0.0.1:8080"), ""},
		{"page that was rebound to here", request(loop, "evil.example:8080", "Origin: http://evil.example:8080"), "host_denied"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, testAccess("local"), tt.r, tt.want)
			expect(t, testAccess(""), tt.r, tt.want)
		})
	}
}

func TestLocalRefusesHTTP10ForProxiesSpeakItUntold(t *testing.T) {
	r := request(loop, self)
	r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	expect(t, testAccess("local"), r, "forwarded_denied")
	expect(t, testAccess("open"), r, "")
}
