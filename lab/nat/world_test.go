//go:build linux

// Package nat holds turnkey nattest and turnkey check against what they are
// to judge: NATs made by the kernel, and servers broken in one known way.
package nat

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/pion/stun/v3"

	"turnkey/lab/netns"
	"turnkey/lab/program"
)

func TestMain(m *testing.M) { program.Main(m) }

const (
	apiKey = "an-API-key-of-the-NAT-lab"
	secret = "a-secret-of-the-NAT-lab"
)

// world is the internet with a turnkey server on it.
type world struct {
	wan     *netns.Switch
	machine *netns.Host // of the server
	last    int         // last byte of the address given away last
	routers []*netns.Host
}

// newWorld starts a server that is told its address and no name, so that a
// probe knows the addresses that it was pointed at and no others.
func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	n := netns.New(t)
	w := &world{wan: n.Switch("internet"), machine: n.Host("server"), last: 100}
	w.machine.Join(w.wan, "eth0", server+"/24", server2+"/24", server6+"/64", server62+"/64")
	w.serve(t, server, secret, append(env, "TURNKEY_PUBLIC_IP="+server, "TURNKEY_LISTEN="+strings.Join([]string{server, server2, server6, server62}, ","))...)
	return w
}

// poor adds a server with one address.
func (w *world) poor(t *testing.T, env ...string) {
	t.Helper()
	machine := w.machine
	w.machine = netns.New(t).Host("single")
	w.machine.Join(w.wan, "eth0", single+"/24")
	w.serve(t, single, secret, append(env, "TURNKEY_PUBLIC_IP="+single, "TURNKEY_LISTEN="+single)...)
	w.machine = machine
}

// plain adds a server that knows no more than RFC 5389: it answers from
// where it was asked, whatever the request says.
func (w *world) plain(t *testing.T) {
	t.Helper()
	machine, ip := netns.New(t).Host("legacy"), legacy
	machine.Join(w.wan, "eth0", ip+"/24")
	for _, port := range []string{"3478", "3479"} {
		conn := listen(t, machine, ip+":"+port)
		go func() {
			buf := make([]byte, 1500)
			for {
				n, from, err := conn.ReadFrom(buf)
				if err != nil {
					return
				}
				if m := (&stun.Message{Raw: buf[:n]}); m.Decode() == nil && m.Type == stun.BindingRequest {
					at := from.(*net.UDPAddr)
					answer := stun.MustBuild(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess, &stun.XORMappedAddress{IP: at.IP, Port: at.Port})
					_, _ = conn.WriteTo(answer.Raw, from)
				}
			}
		}()
	}
}

// throughIPv6 makes the API of the first server answer over IPv6, too.
func (w *world) throughIPv6(t *testing.T) {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: api})
	proxy.Transport = &http.Transport{DialContext: w.machine.Dial}
	w.web(t, "["+server6+"]", proxy)
}

// serve starts turnkey with its HTTP on port 8080 of ip.
func (w *world) serve(t *testing.T, ip, secret string, env ...string) {
	t.Helper()
	program.Start(t, program.Config{Host: w.machine, HTTP: ip + ":8080", Env: append([]string{
		"TURNKEY_HTTP=" + ip + ":8080", "TURNKEY_AUTH=key", "TURNKEY_API_KEY=" + apiKey, "TURNKEY_SECRET=" + secret,
		"TURNKEY_ALLOW_PEERS=203.0.113.0/24", "TURNKEY_LOG_LEVEL=warn",
	}, env...)})
}

// outside adds a machine that is on the internet itself.
func (w *world) outside(t *testing.T) (h *netns.Host, ip string) {
	t.Helper()
	w.last++
	h, ip = netns.New(t).Host("outside"), fmt.Sprintf("203.0.113.%d", w.last)
	h.Join(w.wan, "eth0", ip+"/24")
	return h, ip
}

// home is a client behind a router.
type home struct {
	client, router *netns.Host
	ip             string // of the router on the internet
	n              int    // last byte of ip
}

// behind adds a home whose router has these nftables rules, in which WAN
// stands for its address on the internet.
func (w *world) behind(t *testing.T, rules string) home {
	t.Helper()
	w.last++
	n := netns.New(t)
	h := home{n.Host("client"), n.Host("router"), fmt.Sprintf("203.0.113.%d", w.last), w.last}
	h.router.Join(w.wan, "wan0", h.ip+"/24")
	h.router.Cable("lan0", h.client, "eth0")
	h.router.Addr("lan0", "192.168.1.1/24")
	h.router.Sysctl("net.ipv4.ip_forward", "1")
	h.client.Addr("eth0", homeIP+"/24")
	h.client.Route("default", "via", "192.168.1.1")
	h.router.NFT(strings.ReplaceAll(rules, "WAN", h.ip))
	w.routers = append(w.routers, h.router)
	return h
}

// ipv6 gives a home IPv6, which its router passes on as it is, and returns
// the client's address.
func (w *world) ipv6(h home) (client string) {
	outer, inner := fmt.Sprintf("2001:db8::%d", h.n), fmt.Sprintf("2001:db8:%d::", h.n)
	// A router looks for neighbors from a link-local address, and the ones
	// that interfaces have of their own cannot be used for seconds yet.
	h.router.Addr("wan0", outer+"/64", "fe80::1/64")
	h.router.Addr("lan0", inner+"1/64", "fe80::1/64")
	h.router.Sysctl("net.ipv6.conf.all.forwarding", "1")
	h.client.Addr("eth0", inner+"2/64")
	h.client.Route("default", "via", inner+"1")
	w.machine.Route(inner+"/64", "via", outer)
	return inner + "2"
}
