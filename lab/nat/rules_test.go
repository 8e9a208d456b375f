//go:build linux

package nat

import "strings"

// The short names of behaviors (RFC 4787 sections 4.1 and 5): mapping and
// filtering share them.
const (
	eim, eif   = "endpoint-independent", "endpoint-independent"
	adm, adf   = "address-dependent", "address-dependent"
	apdm, apdf = "address-and-port-dependent", "address-and-port-dependent"
	unknown    = "unknown"
)

// mappings are the source NATs of a router, in which WAN stands for its address.
var mappings = map[string][]string{
	"eim": {`oifname "wan0" masquerade`},
	// The source port is not kept.
	"eim other port": {`oifname "wan0" meta l4proto udp snat to WAN:20000-29999`, `oifname "wan0" masquerade`},
	// A range of ports for each address of the server, and one for the rest; a
	// machine's own ports are in none of them, so that none is kept by chance.
	"adm": {
		`oifname "wan0" meta l4proto udp ip daddr ` + server + ` snat to WAN:10000-14999`,
		`oifname "wan0" meta l4proto udp ip daddr ` + server2 + ` snat to WAN:15000-19999`,
		`oifname "wan0" meta l4proto udp snat to WAN:20000-24999`,
		`oifname "wan0" masquerade`,
	},
	"apdm": {`oifname "wan0" masquerade fully-random`},
}

// filters let packets in that belong to no flow, as the filtering behavior
// says: what is sent from a port of the router is noted after translation, and
// what comes to that port is passed on. Alone, the kernel lets in what answers
// a flow: address-and-port-dependent.
var filters = map[string]string{
	"eif": `table ip inbound {
	map from { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; size 65535; }
	chain learn { type filter hook postrouting priority srcnat + 10
		oifname "wan0" meta l4proto udp update @from { udp sport : ct original ip saddr . ct original proto-src }
	}
	chain pre { type nat hook prerouting priority dstnat
		iifname "wan0" meta l4proto udp dnat to udp dport map @from
	}
}
`,
	"adf": `table ip inbound {
	map from { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; size 65535; }
	set ok { type inet_service . ipv4_addr; flags dynamic,timeout; timeout 60s; size 65535; }
	chain learn { type filter hook postrouting priority srcnat + 10
		oifname "wan0" meta l4proto udp update @from { udp sport : ct original ip saddr . ct original proto-src }
		oifname "wan0" meta l4proto udp update @ok { udp sport . ip daddr }
	}
	chain pre { type nat hook prerouting priority dstnat
		iifname "wan0" meta l4proto udp udp dport . ip saddr @ok dnat to udp dport map @from
	}
}
`,
	"apdf": "",
}

// guarded keeps strangers' packets from the router itself, as home routers do.
// Without it such a packet leaves a flow behind that is in the way of one from
// inside to the same address and port.
const guarded = `table inet guard {
	chain input { type filter hook input priority 0; policy drop
		iifname != "wan0" accept
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
	}
}
`

// hostFirewall is a machine's own: it lets in what answers.
var hostFirewall = filter("input", `iifname lo accept`, `ct state established,related accept`, `meta l4proto udp drop`)

// kind is a router of a mapping and a filtering behavior.
func kind(mapping, filtering string) string {
	return source(mappings[mapping]...) + filters[filtering] + guarded
}

// source is an nftables table of source NAT with these rules.
func source(rules ...string) string {
	return "table ip nat {\nchain post {\ntype nat hook postrouting priority srcnat\n" + strings.Join(rules, "\n") + "\n}\n}\n"
}

// filter is an nftables table that filters what passes (hook forward) or
// comes in (hook input).
func filter(hook string, rules ...string) string {
	return "table inet filter {\nchain c {\ntype filter hook " + hook + " priority 0\n" + strings.Join(rules, "\n") + "\n}\n}\n"
}

// Rules of routers that several tests use.
var (
	masquerade = source(mappings["eim"]...)
	symmetric  = source(mappings["apdm"]...)
	oneToOne   = source(`oifname "wan0" snat to WAN`) + `table ip in {
		chain pre {
			type nat hook prerouting priority dstnat
			iifname "wan0" meta l4proto udp dnat to ` + homeIP + `
		}
	}
	`
)
