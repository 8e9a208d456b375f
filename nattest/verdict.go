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

// relayFor is the verdict for one mapping and one filtering behavior. shaky says
// that mappings come and go, disturbed that a packet that comes unasked for
// changes them.
func relayFor(mapping, filtering behaviors, shaky, disturbed bool) string {
	switch {
	case mapping != eim && filtering == eim:
		return likely // who answers by the session that a packet made is reached
	case mapping != eim:
		return required
	case shaky || disturbed && filtering == apdm:
		return likely
	case filtering == apdm:
		return unlikely
	}
	return notRequired
}

// relay is the verdict that holds whichever of the possible behaviors is the
// true one: the weaker word of two that agree, unknown where they do not. A
// symmetric NAT is taken to filter unless something came in unasked for.
func (f *Family) relay() string {
	words := map[string]bool{}
	filters := f.filters()
	for _, m := range []behaviors{eim, adm, apdm} {
		for _, t := range []behaviors{eim, adm, apdm} {
			if f.mappings()&m == 0 || filters&t == 0 {
				continue
			}
			words[relayFor(m, t, f.shaky(), f.InboundDisturbs == "yes")] = true
			if f.NAT == "yes" && (f.InboundDisturbs == Unknown || f.InboundDisturbs == NotTested) {
				words[relayFor(m, t, f.shaky(), true)] = true
			}
		}
	}
	direct, relayed := words[notRequired] || words[unlikely], words[likely] || words[required]
	switch {
	case direct && relayed || !direct && !relayed,
		words[notRequired] && words[unlikely] && f.Filtering.Behavior == Unknown: // it was tested: the next run may tell
		return Unknown
	case words[unlikely]:
		return unlikely
	case direct:
		return notRequired
	case words[required] && (!words[likely] || f.mappings()&eim == 0 && filters&apdm != 0):
		return required
	}
	return likely
}

// shaky says that the NAT did not do the same every time.
func (f *Family) shaky() bool { return f.Mapping.split || f.Stable == "no" }

// mappings are the mapping behaviors to reckon with.
func (f *Family) mappings() behaviors {
	if f.Mapping.Behavior != Unknown {
		return named([]string{f.Mapping.Behavior})
	}
	return named(f.Mapping.Possible)
}

// filters are the filtering behaviors to reckon with.
func (f *Family) filters() behaviors { return named(f.Filtering.Possible) }

// judge decides whether one family needs a relay, by mapping and filtering.
func (f *Family) judge() Verdict {
	v := f.words()
	v.Caveats = append(v.Caveats, f.Mapping.Caveats...)
	v.Caveats = append(v.Caveats, f.Filtering.Caveats...)
	switch {
	case v.Relay == Unknown:
	case f.UDP == "blocked":
		v.Confidence = 0.95
	default:
		if v.Confidence = f.Mapping.Confidence; f.Mapping.Behavior == Unknown {
			v.Confidence = math.Round(60*float64(answered(f.Trials))/float64(len(f.Trials))) / 100
		}
		if f.Filtering.Confidence > 0 {
			v.Confidence = min(v.Confidence, f.Filtering.Confidence)
		}
	}
	for _, e := range f.Endpoints {
		if e.Answered == 0 && f.UDP == "partial" && v.Relay != Unknown { // else the reason says it
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
	r.V4.Signature, r.V6.Signature = r.V4.signature("v4"), r.V6.signature("v6")
	r.Verdict = overall(&r.V4, &r.V6)
	r.TURN.doubt(max(r.V4.Loss, r.V6.Loss))
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
		beside := "this holds for peers with IPv6; IPv4 was not tested: " + v4.Why
		if v6.NAT64 == "yes" {
			beside = "this machine has no IPv4: this holds for peers with IPv4, which are reached through the network's NAT64"
		}
		v.Caveats = append(slices.Clone(v.Caveats), beside)
	case direct && v.Relay != notRequired && v.Relay != unlikely:
		v.Caveats = append(v.Caveats, "peers that have IPv6 are likely to be reached directly over it")
	}
	return v
}
