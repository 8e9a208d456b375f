package nattest

// What a verdict advises, and towards whom it holds.
const (
	offerTURN  = "Offer TURN all the same: some peer will need it."
	checkTURN  = "Offer TURN (UDP first, then TCP or TLS) and keep its credentials fresh: calls from here depend on it."
	mendTURN   = "Mend TURN as its hints say: calls from here depend on it."
	cannotTell = "Run the test again, or from another network; for a full answer give the server a second address."
	guardWAN   = "In the router's firewall drop packets from the internet that nobody asked for (on Linux: input from the WAN interface, conntrack state new). Until then offer TURN."
	coneNAT    = "If the router has the setting, choose endpoint-independent (full cone) NAT. " + checkTURN
	askAnother = "Name a second server: -also stun:HOST, any public STUN server will do. Or give this one a second address (TURNKEY_ALT_IP)."

	toAll       = "direct to every peer that has UDP"
	toMost      = "direct to most peers; a relay towards those behind a symmetric NAT"
	toMostOpen  = "direct to most peers; a relay towards those behind a symmetric NAT, if anything filters here"
	toSome      = "direct to some peers, some of the time"
	toOpenPeers = "direct only to peers without a NAT, or behind one that filters loosely"
	toNobody    = "no peer is reached directly"
)

// words is the verdict with its reason, for people who write applications.
func (f *Family) words() Verdict {
	say := func(relay, scope, reason, advice string) Verdict {
		return Verdict{Relay: relay, Scope: scope, Reason: reason, Advice: advice}
	}
	switch f.UDP {
	case NotTested:
		return say(Unknown, "", "Not tested: "+f.Why+".", cannotTell)
	case "no_answer":
		return say(Unknown, "", "No UDP packet came back, and nothing else shows whether the server listens there.", "Check the server's UDP ports, and try from another network.")
	case "blocked":
		return say(required, toNobody,
			"The server answers over TCP, but no UDP packet came back from any of its ports: UDP is blocked on the way, or by the server's own firewall.",
			"Offer TURN over TCP or TLS. Try from another network to learn which side blocks.")
	}
	switch relay := f.relay(); relay {
	case notRequired:
		return say(relay, toAll, f.mappingReason()+f.filteringReason(), offerTURN)
	case unlikely:
		if f.Filtering.Behavior == AddressAndPortDependent {
			return say(relay, toMost, f.mappingReason()+f.filteringReason(), offerTURN)
		}
		return say(relay, toMostOpen, f.mappingReason()+f.filteringReason(), offerTURN)
	case likely:
		return f.likelyWords()
	case required:
		return say(relay, toOpenPeers, f.mappingReason()+f.filteringReason(), coneNAT)
	}
	return f.unknownWords()
}

func (f *Family) likelyWords() Verdict {
	v := Verdict{Relay: likely, Scope: toSome, Advice: checkTURN}
	switch m := f.mappings(); {
	case m == eim && f.InboundDisturbs == "yes" && !f.shaky():
		v.Reason = f.mappingReason() + " But a packet that a peer sends first makes the NAT use another port towards that peer, so calls come and go."
		v.Scope, v.Advice = "direct to peers that let anybody in; to others only if this side sends first", guardWAN
	case f.Mapping.split:
		v.Reason = "The NAT kept one public address for some sockets and changed it for others, so direct connections come and go."
	case m&eim != 0:
		v.Reason = "The NAT gave a socket another public address while it was in use, so direct connections come and go."
	default:
		v.Reason, v.Advice = f.mappingReason()+f.filteringReason(), coneNAT
	}
	return v
}

func (f *Family) unknownWords() Verdict {
	v := Verdict{Relay: Unknown, Advice: cannotTell}
	switch m := f.mappings(); {
	case len(f.Mapped) == 0:
		v.Reason = "No answer came back to compare."
	case f.UDP == "partial" && (m == anyBehavior || m != eim && f.filters()&^eim == 0):
		ports := f.silent()
		v.Reason = "No answer came from UDP " + ports + " of the server, and the rest does not show whether the NAT changes its mapping from one port to another."
		v.Advice = "Open UDP " + ports + " in the server's firewall and its cloud's, then run the test again. UDP may also be blocked on the way."
	case m == eim|adm:
		v.Reason = f.mappingReason() + " One address of a server cannot show whether the NAT does so towards others, too."
		v.Advice = askAnother
	case m == eim && f.Filtering.Behavior == NotTested:
		v.Reason = f.mappingReason() + " What the NAT lets in was not tested: the server cannot answer from another port for this test."
		v.Advice = "Bring the server up to date, and let this network reach it over HTTP, for the token that the test needs; or give it a second address (TURNKEY_ALT_IP)."
	case m == eim:
		v.Reason = f.mappingReason() + " But too little came back, or one answer contradicts another, so what is let in remains open."
	default:
		v.Reason = "Too few answers came back to compare."
	}
	return v
}

// mappingReason says what the NAT does with the address that peers are told.
func (f *Family) mappingReason() string {
	switch m := f.mappings(); {
	case f.NAT == "no":
		return "There is no NAT: the server sees this machine's own address."
	case m == eim:
		return "The NAT keeps one public address and port whatever the destination, so the address that peers are told works."
	case m == eim|adm:
		return "The NAT keeps one public address and port for both ports of the server."
	}
	return f.changes() + " (symmetric), so the address that peers are told does not work."
}

// filteringReason says whom the NAT, or a firewall, lets in.
func (f *Family) filteringReason() string {
	filters, cone := f.filters(), f.mappings() == eim
	switch {
	case f.NAT == "no" && filters == apdm:
		return " A firewall on this machine or on the way lets in only answers, so both sides have to send first; WebRTC does that."
	case f.NAT == "no" && filters == adm:
		return " A firewall on this machine or on the way lets in only packets from addresses that were sent to first; WebRTC does that."
	case f.NAT == "no" && filters == eim:
		return " Nothing on the way keeps packets from it."
	case filters == eim && cone:
		return " It lets anybody in through it."
	case filters == eim:
		return " It lets anybody in through each, so peers that take packets from an address nobody told them are reached."
	case filters == adm && cone:
		return " It lets in any port of an address that was sent to first; WebRTC does that."
	case filters == apdm && cone:
		return " It lets in only addresses and ports that were sent to first; WebRTC does that."
	}
	return ""
}
