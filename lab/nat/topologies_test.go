//go:build linux

package nat

// topology is a network and what nattest has to say of it.
type topology struct {
	name   string
	place  place
	host   string // "": both addresses of the server
	waits  bool   // something is silent: the probe may take longer
	lossy  bool   // it is tried with loss of packets in the short form, too
	scarce bool   // ports are so few that one run is in the way of the next
	want   truth
}

// What several topologies have in common.
var (
	open       = truth{relay: "not_required", nat: "no", mapping: eim, filtering: eif, disturbs: "no not_tested", classic: "open internet"}
	fullCone   = truth{relay: "not_required", nat: "yes", mapping: eim, filtering: eif, disturbs: "no not_tested", classic: "full cone"}
	restricted = truth{relay: "not_required", nat: "yes", mapping: eim, filtering: adf, disturbs: "no", classic: "restricted cone"}
	homeRouter = truth{relay: "unlikely", nat: "yes", mapping: eim, filtering: apdf, disturbs: "no", classic: "port-restricted cone"}
	noGuard    = truth{relay: "likely", nat: "yes", mapping: eim, filtering: apdf, disturbs: "yes", classic: "port-restricted cone"}
)

// symmetricNAT is a NAT of a mapping that depends on the destination.
func symmetricNAT(mapping, filtering string) truth {
	relay := "required"
	if filtering == eif {
		relay = "likely"
	}
	return truth{relay: relay, nat: "yes", mapping: mapping, filtering: filtering, classic: "symmetric"}
}

// topologies are networks that have a right answer.
var topologies = []topology{
	{name: "no NAT", place: onInternet(""), lossy: true, want: open},
	{name: "no NAT, firewall of its own", place: onInternet(hostFirewall),
		want: truth{relay: "unlikely", nat: "no", mapping: eim, filtering: apdf, classic: "symmetric firewall"}},
	{name: "EIM EIF", place: inHome(kind("eim", "eif")), lossy: true, want: fullCone},
	{name: "EIM EIF, other ports", place: inHome(kind("eim other port", "eif")),
		want: truth{relay: "not_required likely", nat: "yes", mapping: eim, filtering: eif, classic: "full cone"}},
	{name: "one to one", place: inHome(oneToOne), want: fullCone},
	{name: "EIM ADF", place: inHome(kind("eim", "adf")), lossy: true, want: restricted},
	{name: "EIM APDF", place: inHome(kind("eim", "apdf")), lossy: true, want: homeRouter},
	// Two packets that leave a new socket at once, on two processors of the
	// router, may get two ports: the kernel looks for the first one's too early.
	{name: "EIM APDF, other ports", place: inHome(kind("eim other port", "apdf")),
		want: truth{relay: "unlikely likely", nat: "yes", mapping: eim, filtering: apdf, disturbs: "no not_tested", classic: "port-restricted cone"}},
	{name: "EIM APDF, router takes strangers' packets", place: inHome(masquerade), lossy: true, want: noGuard},
	{name: "ADM EIF", place: inHome(kind("adm", "eif")), want: symmetricNAT(adm, eif)},
	{name: "ADM ADF", place: inHome(kind("adm", "adf")), want: symmetricNAT(adm, adf)},
	{name: "ADM APDF", place: inHome(kind("adm", "apdf")), lossy: true, want: symmetricNAT(adm, apdf)},
	{name: "APDM EIF", place: inHome(kind("apdm", "eif")), want: symmetricNAT(apdm, eif)},
	{name: "APDM ADF", place: inHome(kind("apdm", "adf")), want: symmetricNAT(apdm, adf)},
	{name: "APDM APDF", place: inHome(kind("apdm", "apdf")), lossy: true, want: symmetricNAT(apdm, apdf)},
	{name: "APDM APDF, router takes strangers' packets", place: inHome(symmetric), want: symmetricNAT(apdm, apdf)},
	{name: "pool, an address for each flow", place: inPool("numgen inc mod 3"), waits: true, // own packets come from where no permission is
		want: truth{relay: "required likely", nat: "yes", mapping: unknown + " " + adm + " " + apdm, classic: ""}},
	{name: "pool, an address for each socket", place: inPool("jhash udp sport mod 3"),
		want: truth{relay: "unlikely", nat: "yes", mapping: eim, filtering: apdf}},
	{name: "CGN, both EIM", place: inCGN(kind("eim", "apdf"), kind("eim", "apdf")), lossy: true, want: homeRouter},
	{name: "CGN that is symmetric", place: inCGN(kind("eim", "apdf"), kind("apdm", "apdf")), want: symmetricNAT(apdm, apdf)},
	{name: "CGN that lets all in, home that does not", place: inCGN(kind("eim", "apdf"), kind("eim", "eif")), want: homeRouter},
	{name: "symmetric home, CGN that lets all in", place: inCGN(kind("apdm", "apdf"), kind("eim", "eif")), want: symmetricNAT(apdm, apdf)},
	{name: "UDP blocked", place: inHome(masquerade + filter("forward", "meta l4proto udp drop")), waits: true,
		want: truth{relay: "required", udp: "blocked", nat: unknown, mapping: unknown, classic: "UDP blocked"}},
	{name: "HTTP only", place: inHome(masquerade + filter("forward", "meta l4proto tcp ct original proto-dst != 8080 drop", "meta l4proto udp drop")), waits: true,
		want: truth{relay: "required", udp: "blocked", nat: unknown, turn: "failed"}},
	{name: "UDP blocked inwards", place: inHome(masquerade + filter("forward", `iifname "wan0" meta l4proto udp drop`)), waits: true,
		want: truth{relay: "required", udp: "blocked", nat: unknown, mapping: unknown}},
	{name: "second port blocked, symmetric", place: inHome(kind("apdm", "apdf") + filter("forward", "udp dport 3479 drop")), waits: true,
		want: truth{relay: "required likely unknown", udp: "partial", nat: "yes", mapping: apdm + " " + unknown}},
	{name: "second port blocked, home router", place: inHome(kind("eim", "apdf") + filter("forward", "udp dport 3479 drop")), waits: true,
		want: truth{relay: "unlikely unknown", udp: "partial", nat: "yes", mapping: eim, filtering: apdf + " " + unknown}},
	{name: "second address unreachable, symmetric", place: inHome(kind("apdm", "apdf") + filter("forward", "ip daddr "+server2+" drop")), waits: true,
		want: truth{relay: "required", udp: "partial", nat: "yes", mapping: apdm, filtering: apdf + " " + unknown}},
	{name: "second address unreachable, full cone", place: inHome(kind("eim", "eif") + filter("forward", "ip daddr "+server2+" drop", "ip saddr "+server2+" drop")), waits: true,
		want: truth{relay: "unlikely not_required unknown", udp: "partial", nat: "yes", mapping: eim + " " + unknown, filtering: eif + " " + adf + " " + unknown}},

	{name: "one address, no NAT", place: onInternet(""), host: alone, want: truth{relay: "not_required unlikely", nat: "no", mapping: eim, filtering: eif + " " + unknown}},
	{name: "one address, EIM EIF", place: inHome(kind("eim", "eif")), host: alone,
		want: truth{relay: "not_required unlikely", nat: "yes", mapping: eim + " " + unknown, filtering: eif + " " + unknown}},
	{name: "one address, EIM ADF", place: inHome(kind("eim", "adf")), host: alone,
		want: truth{relay: "not_required unlikely", nat: "yes", mapping: eim + " " + unknown, filtering: adf + " " + unknown}},
	{name: "one address, EIM APDF", place: inHome(kind("eim", "apdf")), host: alone,
		want: truth{relay: "unlikely", nat: "yes", mapping: eim + " " + unknown, filtering: apdf}},
	{name: "one address, EIM APDF, other ports", place: inHome(kind("eim other port", "apdf")), host: alone,
		want: truth{relay: "unlikely likely unknown", nat: "yes", mapping: eim + " " + unknown, filtering: apdf}},
	{name: "one address, router takes strangers' packets", place: inHome(masquerade), host: alone,
		want: truth{relay: "likely unlikely", nat: "yes", mapping: eim + " " + unknown, filtering: apdf, disturbs: "yes " + unknown}},
	{name: "one address, ADM APDF", place: inHome(kind("adm", "apdf")), host: alone,
		want: truth{relay: "unlikely unknown", nat: "yes", mapping: adm + " " + unknown, filtering: apdf}},
	{name: "one address, APDM APDF", place: inHome(kind("apdm", "apdf")), host: alone, want: symmetricNAT(apdm, apdf)},

	{name: "NAT64", place: nat64, host: "nat64.lab:8080", want: truth{v6: true, relay: "unlikely unknown", nat: "yes", nat64: "yes", mapping: eim, filtering: apdf + " " + unknown, turn: "ok failed not_tested"}},
	{name: "IPv6, nothing filters", place: inIPv6(""), host: "six.lab:8080", want: truth{v6: true, relay: "not_required", nat: "no", mapping: eim, filtering: eif}},
	{name: "IPv6, stateful firewall", place: inIPv6(stateful6), host: "six.lab:8080",
		want: truth{v6: true, relay: "unlikely", nat: "no", mapping: eim, filtering: apdf, classic: "symmetric firewall"}},
	{name: "IPv6, one address for all (NAT66)", place: inIPv6("table ip6 nat {\nchain post {\ntype nat hook postrouting priority srcnat\noifname \"wan0\" masquerade\n}\n}\n" + guarded), host: "six.lab:8080", want: truth{v6: true, relay: "unlikely", nat: "yes", mapping: eim, filtering: apdf}},
}

// tricks are networks that have fooled a probe, or could.
var tricks = []topology{
	{name: "another machine holds the port towards one address", place: crowded, scarce: true,
		want: truth{relay: "unlikely likely unknown", nat: "yes", mapping: eim + " " + unknown, filtering: apdf}},
	{name: "two uplinks, by flow", place: twoUplinks("numgen random mod 2"), waits: true, // as with a pool
		want: truth{relay: "required likely unknown", nat: "yes", mapping: unknown + " " + adm + " " + apdm}},
	{name: "two uplinks, by source", place: twoUplinks("jhash udp sport mod 2"),
		want: truth{relay: "unlikely unknown", nat: "yes", mapping: eim + " " + unknown, filtering: apdf}},
	{name: "two uplinks, one for one address of the server", place: twoUplinks("ip daddr map { " + server2 + " : 1 }"),
		want: truth{relay: "required likely unknown", nat: "yes", mapping: adm + " " + unknown}},
	{name: "VPN for one address of the server", place: withVPN,
		want: truth{relay: "unlikely unknown", nat: "yes", mapping: eim + " " + unknown}},
	{name: "ports change after a second", place: forgetful,
		want: truth{relay: "unlikely likely unknown", nat: "yes", mapping: eim + " " + unknown, filtering: apdf + " " + unknown, turn: "ok failed not_tested"}},
	{name: "ports kept where they are even", place: inHome(source(`oifname "wan0" meta l4proto udp @th,15,1 1 snat to WAN:20000-29999`, `oifname "wan0" masquerade`) + guarded), want: homeRouter},
	{name: "a block of 16 ports", scarce: true, place: inHome(source(`oifname "wan0" meta l4proto udp snat to WAN:20000-20015`, `oifname "wan0" masquerade`) + guarded),
		want: truth{relay: "unlikely likely unknown", nat: "yes", mapping: eim + " " + unknown, filtering: apdf + " " + unknown}},
	{name: "another port for port 3479", place: inHome(source(`oifname "wan0" udp dport 3479 masquerade fully-random`, `oifname "wan0" masquerade`) + guarded),
		want: symmetricNAT(apdm, apdf)},
	{name: "full cone, but nothing new from port 3479 of one address", place: inHome(kind("eim", "eif") + filter("forward", `iifname "wan0" ct state new ip saddr `+server+` udp sport 3479 drop`)),
		want: truth{relay: "not_required", nat: "yes", mapping: eim, filtering: unknown + " " + eif + " " + adf}},
	{name: "full cone, but nothing new from port 3479", place: inHome(kind("eim", "eif") + filter("forward", `iifname "wan0" ct state new udp sport 3479 drop`)),
		want: truth{relay: "not_required unlikely unknown", nat: "yes", mapping: eim, filtering: unknown + " " + eif + " " + apdf}},
	{name: "40 packets a second", place: inHome(kind("eim", "apdf") + filter("forward", `iifname "lan0" meta l4proto udp limit rate over 40/second burst 10 packets drop`)), waits: true,
		want: truth{relay: "unlikely unknown", nat: "yes", mapping: eim + " " + unknown, filtering: apdf + " " + unknown, unsure: true}},
	{name: "40 packets a second, full cone", place: inHome(kind("eim", "eif") + filter("forward", `iifname "lan0" meta l4proto udp limit rate over 40/second burst 10 packets drop`)), waits: true,
		want: truth{relay: "not_required unlikely unknown", nat: "yes", mapping: eim + " " + unknown, filtering: eif + " " + unknown, unsure: true}},
	{name: "40 packets a second, symmetric", place: inHome(kind("apdm", "apdf") + filter("forward", `iifname "lan0" meta l4proto udp limit rate over 40/second burst 10 packets drop`)), waits: true,
		want: truth{relay: "required likely unknown", nat: "yes", mapping: apdm + " " + unknown, filtering: apdf + " " + unknown, unsure: true}},
	{name: "answers come twice", place: inHome(kind("eim", "apdf") + "table ip twice {\nchain c {\ntype filter hook forward priority 10\niifname \"wan0\" meta l4proto udp dup to " + homeIP + " device \"lan0\"\n}\n}\n"), want: homeRouter},
	{name: "answers overtake each other", place: late, waits: true, want: homeRouter},
	{name: "answers forged in the server's name", place: forged, want: open},
	{name: "MAPPED-ADDRESS rewritten", place: inHome(kind("eim", "apdf") + rewriting), want: homeRouter},
	{name: "CHANGE-REQUEST dropped on the way, full cone", place: inHome(kind("eim", "eif") + filter("forward", `udp dport 3478-3479 @th,64,16 0x0001 @th,224,16 0x0003 drop`)), waits: true,
		want: truth{relay: "unlikely unknown", nat: "yes", mapping: eim, filtering: unknown}},
	{name: "CHANGE-REQUEST dropped on the way, symmetric NAT that lets all in", place: inHome(kind("apdm", "eif") + filter("forward", `udp dport 3478-3479 @th,64,16 0x0001 @th,224,16 0x0003 drop`)), waits: true,
		want: truth{relay: "likely required unknown", nat: "yes", mapping: apdm, filtering: unknown}},
	{name: "server ignores CHANGE-REQUEST, home router", place: inHome(kind("eim", "apdf")), host: old, waits: true,
		want: truth{relay: "unlikely unknown", nat: "yes", mapping: eim + " " + unknown, filtering: unknown + " not_tested", turn: "not_tested"}},
	{name: "server ignores CHANGE-REQUEST, full cone", place: inHome(kind("eim", "eif")), host: old, waits: true,
		want: truth{relay: "unlikely unknown", nat: "yes", mapping: eim + " " + unknown, filtering: unknown + " not_tested", turn: "not_tested"}},
}

// at is the server that is asked.
func (tt topology) at() string {
	if tt.host == "" {
		return both
	}
	return tt.host
}
