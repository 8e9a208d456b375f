//go:build linux

package interop

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"turnkey/lab/need"
	"turnkey/lab/netns"
	"turnkey/lab/program"
)

// Addresses of the STUN lab, each of which is in its namespaces only. The
// server's are public ones, so that turnkey finds and pairs them by itself.
const (
	first, second   = "8.8.4.10", "8.8.4.11"
	first6, second6 = "2a00:1450::10", "2a00:1450::11"
	stunClientIP    = "8.8.4.20"
	stunClientIP6   = "2a00:1450::20"
)

// internet is a server with two addresses of each family, without any setting
// of STUN, and a client on the same network.
func internet(t *testing.T, env ...string) (wan *netns.Switch, server, client *netns.Host) {
	t.Helper()
	n := netns.New(t)
	wan, server, client = n.Switch("wan"), n.Host("server"), n.Host("client")
	server.Join(wan, "eth0", first+"/24", second+"/24", first6+"/64", second6+"/64")
	client.Join(wan, "eth0", stunClientIP+"/24", stunClientIP6+"/64")
	program.Start(t, program.Config{Host: server, Env: append([]string{"TURNKEY_AUTH=open"}, env...)})
	return wan, server, client
}

// run runs a program of others on h. Its exit status tells nothing.
func run(t *testing.T, h *netns.Host, name string, args ...string) string {
	t.Helper()
	need.Programs(t, name)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := h.Command(ctx, name, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// What coturn's natdiscovery and stunclient, and the client of the stund
// package, which speaks RFC 3489, say of NATs that the kernel makes.
func TestToolsNameTheNAT(t *testing.T) {
	const (
		nat  = "table ip n {\nchain p {\ntype nat hook postrouting priority srcnat\noifname wan0 %s\n}\n}\n"
		drop = "table inet f {\nchain i {\ntype filter hook input priority 0\niifname wan0 ct state new drop\n}\n}\n"
	)
	need.Programs(t, "turnutils_natdiscovery", "turnutils_stunclient", "stun")
	masquerade := fmt.Sprintf(nat, "masquerade") + drop
	wan, _, outside := internet(t)
	for i, tt := range []struct {
		name, rules string // none: no NAT
		command     string // of natdiscovery, if it begins with a dash
		want        []string
	}{
		{"none", "", "-m -f", []string{"No NAT! (Endpoint Independent Mapping)", "NAT with Endpoint Independent Filtering!"}},
		{"none, IPv6", "", "turnutils_natdiscovery -m -f -L " + stunClientIP6 + " " + first6, []string{"No NAT! (Endpoint Independent Mapping)", "NAT with Endpoint Independent Filtering!"}},
		{"none, hairpin", "", "-H", []string{"Received a request (maybe a successful hairpinning)"}},
		{"none, padding", "", "-m -f -P", []string{"No NAT! (Endpoint Independent Mapping)", "NAT with Endpoint Independent Filtering!"}},
		{"none, stun", "", "stun " + first, []string{"Primary: Open"}},
		{"none, stunclient", "", "turnutils_stunclient -f " + second, []string{"RFC 5780 response 3", "UDP reflexive addr: " + stunClientIP}},
		{"masquerade", masquerade, "-m -f", []string{"NAT with Endpoint Independent Mapping!", "NAT with Address and Port Dependent Filtering!"}},
		{"masquerade, hairpin", masquerade, "-H", []string{"STUN receive timeout.."}},
		{"masquerade, mapping used a second ago", masquerade, "-t -T 1", []string{"RFC 5780 response 2"}},
		{"masquerade, mapping used five seconds ago", masquerade, "-t -T 5", []string{"STUN receive timeout.."}},
		{"masquerade, stun", masquerade, "stun " + first, []string{"Primary: Independent Mapping, Port Dependent Filter, preserves ports, no hairpin"}},
		{"fully random", fmt.Sprintf(nat, "masquerade fully-random") + drop, "-m -f", []string{"NAT with Address and Port Dependent Mapping!", "NAT with Address and Port Dependent Filtering!"}},
		{"fully random, stun", fmt.Sprintf(nat, "masquerade fully-random") + drop, "stun " + second, []string{"Primary: Dependent Mapping"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, ip := outside, stunClientIP
			if tt.rules != "" {
				h, ip = behind(t, wan, fmt.Sprintf("8.8.4.%d", 100+i), tt.rules), "192.168.1.2"
			}
			t.Parallel()
			args := strings.Fields(tt.command)
			if args[0][0] == '-' {
				args = append(append([]string{"turnutils_natdiscovery"}, args...), "-L", ip, first)
			}
			out := run(t, h, args[0], args[1:]...)
			for _, words := range tt.want {
				if !strings.Contains(out, words) {
					t.Errorf("%v: got no %q in:\n%s", args, words, out)
				}
			}
		})
	}
}

// behind adds a client behind a router with these rules, whose mappings live
// for three seconds.
func behind(t *testing.T, wan *netns.Switch, ip, rules string) *netns.Host {
	t.Helper()
	n := netns.New(t)
	router, client := n.Host("router"), n.Host("inside")
	router.Join(wan, "wan0", ip+"/24")
	router.Cable("lan0", client, "eth0")
	router.Addr("lan0", "192.168.1.1/24")
	router.Sysctl("net.ipv4.ip_forward", "1")
	for _, timeout := range []string{"udp_timeout", "udp_timeout_stream"} {
		router.Sysctl("net.netfilter.nf_conntrack_"+timeout, "3")
	}
	client.Addr("eth0", "192.168.1.2/24")
	client.Route("default", "via", "192.168.1.1")
	router.NFT(rules)
	return client
}
