package nattest

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The words of Verdict.Relay, besides Unknown.
const (
	notRequired = "not_required"
	unlikely    = "unlikely"
	likely      = "likely"
	required    = "required"
)

// outcome is the verdict a family's evidence leads to.
type outcome struct{ relay, scope, reason, advice string }

var (
	offerTURN  = "Offer TURN all the same: some peer will need it."
	checkTURN  = "Offer TURN (UDP first, then TCP or TLS) and keep its credentials fresh: calls from here depend on it."
	mendTURN   = "Mend TURN as its hints say: calls from here depend on it."
	symmetric  = "direct only to peers without a NAT, or behind one that filters loosely"
	cannotTell = "Run the test again, or from another network; for a full answer give the server a second address."
)

// judge decides whether one family needs a relay, by mapping and filtering.
func (f *Family) judge() Verdict {
	o := f.outcome()
	v := Verdict{Relay: o.relay, Scope: o.scope, Reason: o.reason, Advice: o.advice, Caveats: slices.Clone(f.Mapping.Caveats)}
	switch {
	case o.relay == Unknown:
	case f.UDP == "blocked":
		v.Confidence = 0.95
	case f.Mapping.Behavior != Unknown:
		v.Confidence = f.Mapping.Confidence
	default:
		v.Confidence = math.Round(60*float64(answered(f.Trials))/float64(len(f.Trials))) / 100
	}
	for _, e := range f.Endpoints {
		if e.Answered == 0 && f.UDP == "partial" && o.relay != Unknown { // else the reason says it
			v.Caveats = append(v.Caveats, "no answer from "+e.Endpoint.String())
		}
	}
	if f.local() {
		v.Caveats = append(v.Caveats, "the server is on this machine or in a private network: this says nothing about the way to the internet")
		if f.NAT == "no" {
			v.Scope = "direct to peers in the same network as this server; others were not tested"
		}
	}
	return v
}

// local says that the packets need not have left this network: no public
// address of the server was tested, or only this machine's own.
func (f *Family) local() bool {
	own := func(a netip.Addr) bool {
		return slices.ContainsFunc(f.Trials, func(t Trial) bool { return t.Local.Addr() == a })
	}
	return len(f.Endpoints) > 0 && !slices.ContainsFunc(f.Endpoints, func(e Endpoint) bool {
		return public(e.Endpoint.Addr()) && !own(e.Endpoint.Addr())
	})
}

func (f *Family) outcome() outcome {
	open := f.Filtering.Behavior == EndpointIndependent
	friendly := open || f.Filtering.Behavior == AddressDependent
	possible := f.Mapping.Possible
	noneEIM := !slices.Contains(possible, EndpointIndependent)
	switch {
	case f.UDP == "not_tested":
		return outcome{Unknown, "", "Not tested: " + f.Why + ".", cannotTell}
	case f.UDP == "no_answer":
		return outcome{Unknown, "", "No UDP packet came back, and nothing else shows whether the server listens there.", "Check the server's UDP ports, and try from another network."}
	case f.UDP == "blocked":
		return outcome{
			required, "no peer is reached directly",
			"The server answers over TCP, but no UDP packet came back from any of its ports: UDP is blocked on the way, or by the server's own firewall.",
			"Offer TURN over TCP or TLS. Try from another network to learn which side blocks.",
		}
	case f.Mapping.split && 3*f.Mapping.nonEIM >= 2*len(f.Trials):
		return outcome{required, symmetric, "Most sockets got different public addresses or ports for different destinations, so the address that peers are told does not work.", checkTURN}
	case f.Mapping.split:
		return outcome{likely, "direct to some peers, some of the time", "The NAT kept one public address for some sockets and changed it for others, so direct connections come and go.", checkTURN}
	case f.NAT == "no" && friendly:
		return outcome{notRequired, "direct to every peer that has UDP", "There is no NAT: the server sees this machine's own address.", offerTURN}
	case f.NAT == "no":
		return outcome{
			unlikely, "direct to most peers; not to those behind a symmetric NAT if a firewall guards this machine",
			"There is no NAT: the server sees this machine's own address. What a firewall on the way drops was not tested.", offerTURN,
		}
	case f.Mapping.Behavior == EndpointIndependent && friendly:
		return outcome{notRequired, "direct to every peer that has UDP", "The NAT keeps one public address for every destination and lets other peers in through it.", offerTURN}
	case f.Mapping.Behavior == EndpointIndependent, slices.Equal(possible, []string{EndpointIndependent}):
		return outcome{
			unlikely, "direct to most peers; a relay towards those behind a symmetric NAT",
			"The NAT keeps one public address and port whatever the destination, so the address that peers are told works.", offerTURN,
		}
	case noneEIM && len(possible) > 0 && open:
		return outcome{likely, "direct to some peers", f.changes() + ", but lets anybody in through it.", checkTURN}
	case noneEIM && len(possible) > 0:
		return outcome{
			required, symmetric,
			f.changes() + " (symmetric), so the address that peers are told does not work.", checkTURN,
		}
	case slices.Equal(possible, []string{EndpointIndependent, AddressDependent}):
		return outcome{
			unlikely, "direct to most peers, unless the NAT is address-dependent (rare)",
			"The NAT keeps one public address and port for both ports of the server, as NATs that let peers connect directly do.", offerTURN,
		}
	case f.UDP == "partial":
		ports := f.silent()
		return outcome{
			Unknown, "",
			"No answer came from UDP " + ports + " of the server, and the rest does not show whether the NAT changes its mapping from one port to another.",
			"Open UDP " + ports + " in the server's firewall and its cloud's, then run the test again. UDP may also be blocked on the way.",
		}
	}
	return outcome{Unknown, "", "Too few answers came back to compare.", cannotTell}
}

// silent names the ports of the endpoints that no socket got an answer from.
func (f *Family) silent() string {
	var ports []string
	for _, e := range f.Endpoints {
		if p := strconv.Itoa(int(e.Endpoint.Port())); e.Answered == 0 && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	return plural(len(ports), "port") + " " + strings.Join(ports, ", ")
}

// changes says what the NAT does from one destination to another.
func (f *Family) changes() string {
	addr, port := false, false
	for _, t := range f.Trials {
		var first netip.AddrPort
		for _, a := range t.Answers {
			if !first.IsValid() {
				first = a.Mapped
			} else if a.Mapped.IsValid() {
				addr = addr || a.Mapped.Addr() != first.Addr()
				port = port || a.Mapped.Port() != first.Port()
			}
		}
	}
	switch {
	case addr && !port:
		return "The NAT uses another of its public addresses for each destination"
	case addr:
		return "The NAT picks a new public address and port for each destination"
	case f.Mapping.Behavior == AddressDependent:
		return "The NAT picks a new public port for each address that packets go to"
	}
	return "The NAT picks a new public port for each destination"
}

// conclude judges both families and the machine as a whole.
func (r *Report) conclude(v4, v6 observation, httpAnswered bool) {
	alive := httpAnswered && v4.answers()+v6.answers() == 0
	r.V4, r.V6 = classify(v4, alive), classify(v6, alive)
	r.Verdict = overall(&r.V4, &r.V6)
	if v := &r.Verdict; r.TURN.State == "failed" && (v.Relay == likely || v.Relay == required) {
		v.Advice = mendTURN
	}
}

// overall is IPv4's verdict where that was tested, since peers without IPv6
// exist, else IPv6's.
func overall(v4, v6 *Family) Verdict {
	v := v4.Verdict
	v.Caveats = slices.Clone(v.Caveats)
	direct := v6.Verdict.Relay == notRequired || v6.Verdict.Relay == unlikely
	switch {
	case v4.UDP == "not_tested" && v6.UDP != "not_tested":
		v = v6.Verdict
		v.Caveats = append(slices.Clone(v.Caveats), "this holds for peers with IPv6; IPv4 was not tested: "+v4.Why)
	case direct && v.Relay != notRequired && v.Relay != unlikely:
		v.Caveats = append(v.Caveats, "peers that have IPv6 are likely to be reached directly over it")
	}
	return v
}
