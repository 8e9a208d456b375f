package nattest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const local = "192.168.1.2:40000"

var (
	four = []string{"203.0.113.10:3478", "203.0.113.10:3479", "203.0.113.11:3478", "203.0.113.11:3479"}
	two  = four[:2]
)

// trial makes one of "a b c d": the mapped address per endpoint, a bare number
// being a port of 198.51.100.1, "-" no answer and "=" the local address.
func trial(endpoints []string, mapped string) Trial {
	t := Trial{Local: netip.MustParseAddrPort(local)}
	for i, m := range strings.Fields(mapped) {
		a := Answer{Endpoint: netip.MustParseAddrPort(endpoints[i]), Sends: 1}
		switch {
		case m == "-":
		case m == "=":
			a.Mapped = t.Local
		case strings.Contains(m, ":"):
			a.Mapped = netip.MustParseAddrPort(m)
		default:
			a.Mapped = netip.MustParseAddrPort("198.51.100.1:" + m)
		}
		t.Answers = append(t.Answers, a)
	}
	return t
}

// homely is what a home router's filter comes to: address-and-port-dependent.
var homely = tally{
	rounds: Rounds{Sent: 10, ControlOK: 10},
	port:   attempt{tried: true, asked: 10}, both: attempt{tried: true, asked: 10},
}

func TestClassify(t *testing.T) {
	const (
		e, a, p, u = EndpointIndependent, AddressDependent, AddressAndPortDependent, Unknown
		ipB        = "198.51.100.2:"
	)
	for _, tt := range []struct {
		name      string
		endpoints []string
		trials    string // separated by commas
		silent    bool   // the server was not seen alive
		udp, nat  string
		behavior  string
		possible  []string
		relay     string
		level     string
		pooling   string
	}{
		{"all equal", four, "7 7 7 7,8 8 8 8,9 9 9 9", false, "ok", "yes", e, []string{e}, unlikely, "high", "paired"},
		{"by address", four, "7 7 8 8,9 9 10 10,11 11 12 12", false, "ok", "yes", a, []string{a}, required, "high", "paired"},
		{"by address and port", four, "1 2 3 4,5 6 7 8,9 10 11 12", false, "ok", "yes", p, []string{p}, required, "high", "paired"},
		{"no NAT", four, "= = = =,= = = =,= = = =", false, "ok", "no", e, []string{e}, unlikely, "high", "paired"},
		{"no NAT, one address", two, "= =,= =,= =", false, "ok", "no", e, []string{e}, unlikely, "high", "paired"},
		{"one address, equal", two, "7 7,8 8,9 9", false, "ok", "yes", u, []string{e, a}, Unknown, "none", "paired"},
		{"one address, different", two, "1 2,3 4,5 6", false, "ok", "yes", p, []string{p}, required, "high", "paired"},
		{"one address, port kept", two, "40000 40000,40000 40000,40000 40000", false, "ok", "yes", e, []string{e, a}, unlikely, "medium", "paired"},
		{"one address, port kept in one trial only", two, "40000 40000,8 8,9 9", false, "ok", "yes", u, []string{e, a}, Unknown, "none", "paired"},
		{"one port answers", two, "7 -,8 -,9 -", false, "partial", "yes", u, []string{e, a, p}, Unknown, "none", "paired"},
		{"second address silent", four, "7 7 - -,8 8 - -,9 9 - -", false, "partial", "yes", u, []string{e, a}, Unknown, "none", "paired"},
		{"one port of each address, equal", four, "7 - 7 -,8 - 8 -,9 - 9 -", false, "partial", "yes", e, []string{e}, unlikely, "high", "paired"},
		{"one port of each address, different", four, "1 - 2 -,3 - 4 -,5 - 6 -", false, "partial", "yes", u, []string{a, p}, required, "none", "paired"},
		{"two trials of three", four, "7 7 7 7,8 8 8 8,- - - -", false, "ok", "yes", e, []string{e}, unlikely, "medium", "paired"},
		{"one trial of three", four, "7 7 7 7,- - - -,- - - -", false, "ok", "yes", u, []string{e}, unlikely, "none", "paired"},
		{"loss fills in", four, "7 7 - -,8 - 9 9,10 10 11 -", false, "ok", "yes", a, []string{a}, required, "medium", "paired"},
		{"collision in one trial", four, "7 7 7 7,8 8 8 8,9 9 10 10", false, "ok", "yes", e, []string{e, a}, likely, "low", "paired"},
		{"all three differ", four, "7 7 7 7,8 8 9 9,1 2 3 4", false, "ok", "yes", u, []string{e, a, p}, likely, "none", "paired"},
		{"random address per flow", four, "7 " + ipB + "7 7 7,8 8 " + ipB + "8 " + ipB + "8,9 9 9 9", false, "ok", "yes", u, []string{a, p}, required, "none", "arbitrary"},
		{"random address, equal by chance", four, "7 7 7 7,8 8 8 8,9 " + ipB + "9 9 9", false, "ok", "yes", u, []string{p}, required, "none", "arbitrary"},
		{"random address per socket", four, "7 7 7 7," + ipB + "8 " + ipB + "8 " + ipB + "8 " + ipB + "8,9 9 9 9", false, "ok", "yes", e, []string{e}, unlikely, "high", "arbitrary"},
		{"nothing answers, server alive", two, "- -,- -,- -", false, "blocked", u, u, []string{e, a, p}, required, "none", u},
		{"nothing answers at all", two, "- -,- -,- -", true, "no_answer", u, u, []string{e, a, p}, Unknown, "none", u},
		{"a proxy before the server", two, "172.17.0.1:7 172.17.0.1:7,172.17.0.1:8 172.17.0.1:8,172.17.0.1:9 172.17.0.1:9", false, "ok", u, u, []string{e, a, p}, Unknown, "none", "paired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := observation{tally: homely, disturbs: "no"}
			for _, s := range strings.Split(tt.trials, ",") {
				o.trials = append(o.trials, trial(tt.endpoints, s))
			}
			f := classify(o, !tt.silent)
			got := fmt.Sprintln(f.UDP, f.NAT, f.Mapping.Behavior, f.Mapping.Possible, f.Verdict.Relay, f.Mapping.Level, f.Pooling)
			want := fmt.Sprintln(tt.udp, tt.nat, tt.behavior, tt.possible, tt.relay, tt.level, tt.pooling)
			if got != want {
				t.Errorf("got  %s want %s", got, want)
			}
			if (f.Mapping.Confidence > 0) != (f.Mapping.Behavior != Unknown) || f.Mapping.Confidence > 0.98 {
				t.Errorf("got confidence %v for %s", f.Mapping.Confidence, f.Mapping.Behavior)
			}
			if v := f.Verdict; v.Reason == "" || v.Advice == "" || (v.Scope == "") != (v.Relay == Unknown) {
				t.Errorf("got %+v, want reason, advice and a scope", v)
			}
		})
	}
}

// What an endpoint does not answer never makes the rest say more: taking
// answers away only widens the set of possible behaviors.
func TestMissingAnswersOnlyWiden(t *testing.T) {
	for _, full := range []string{"7 7 7 7", "7 7 8 8", "1 2 3 4", "= = = ="} {
		all := trial(four, full)
		for mask := range 16 {
			part := Trial{Local: all.Local, Answers: slices.Clone(all.Answers)}
			for i := range part.Answers {
				if mask&(1<<i) != 0 {
					part.Answers[i].Mapped = netip.AddrPort{}
				}
			}
			if got, want := part.possible(), all.possible(); got&want != want {
				t.Errorf("%s without %04b: got %v, want it to hold %v", full, mask, got.names(), want.names())
			}
		}
	}
}

func TestVerdictTable(t *testing.T) {
	const e, a, p, u = EndpointIndependent, AddressDependent, AddressAndPortDependent, NotTested
	for _, tt := range []struct{ trials, filtering, disturbs, stable, want string }{
		{"= = = =", e, "no", "yes", notRequired},
		{"= = = =", a, "no", "yes", notRequired},
		{"= = = =", p, "no", "yes", unlikely},
		{"= = = =", u, u, "yes", unlikely},
		{"7 7 7 7", e, "no", "yes", notRequired},
		{"7 7 7 7", a, "no", "yes", notRequired},
		{"7 7 7 7", a, "yes", "yes", notRequired},
		{"7 7 7 7", p, "no", "yes", unlikely},
		{"7 7 7 7", p, "yes", "yes", likely},
		{"7 7 7 7", p, Unknown, "yes", Unknown},
		{"7 7 7 7", p, u, "yes", Unknown},
		{"7 7 7 7", u, u, "yes", Unknown},
		{"7 7 7 7", p, "no", "no", likely},
		{"7 7 7 7", e, "no", "no", likely},
		{"7 7 8 8", e, "no", "yes", likely},
		{"7 7 8 8", a, "no", "yes", required},
		{"7 7 8 8", p, "no", "yes", required},
		{"7 7 8 8", u, u, "yes", required},
		{"1 2 3 4", e, u, "yes", likely},
		{"1 2 3 4", a, u, "yes", required},
		{"1 2 3 4", p, u, "yes", required},
		{"1 2 3 4", u, u, "yes", required},
		{"1 2 3 4", e + " " + a, u, "yes", likely},
		{"7 7 - -", p, "no", "yes", Unknown},
	} {
		f := classify(observation{trials: []Trial{trial(four, tt.trials), trial(four, tt.trials)}}, true)
		f.InboundDisturbs, f.Stable = tt.disturbs, tt.stable
		if f.Filtering.Behavior = tt.filtering; tt.filtering != u {
			if f.Filtering.Possible = strings.Fields(tt.filtering); len(f.Filtering.Possible) > 1 {
				f.Filtering.Behavior = Unknown
			}
		}
		v := f.judge()
		if v.Relay != tt.want {
			t.Errorf("%s with %s filtering, disturbs %s, stable %s: got %s, want %s", tt.trials, tt.filtering, tt.disturbs, tt.stable, v.Relay, tt.want)
		}
		if v.Reason == "" || v.Advice == "" || (v.Scope == "") != (v.Relay == Unknown) {
			t.Errorf("%s with %s filtering: got %+v, want reason, advice and a scope", tt.trials, tt.filtering, v)
		}
	}
}

func TestReasonNamesWhatTheNATChanges(t *testing.T) {
	const other = "198.51.100.2:"
	for _, tt := range []struct{ trials, reason, advice string }{
		{"1 2 3 4", "picks a new public port for each destination (symmetric)", "Offer TURN"},
		{"7 7 8 8", "picks a new public port for each address that packets go to", "Offer TURN"},
		{"7 " + other + "7 7 " + other + "7", "uses another of its public addresses for each destination", "Offer TURN"},
		{"1 " + other + "2 3 " + other + "4", "picks a new public address and port for each destination", "Offer TURN"},
		{"7 - 8 -", "picks a new public port for each destination", "Offer TURN"},
		{"7 - - -", "No answer came from UDP ports 3479, 3478 of the server", "Open UDP ports 3479, 3478"},
		{"7 -", "No answer came from UDP port 3479 of the server", "Open UDP port 3479"},
		{"- 7", "No answer came from UDP port 3478 of the server", "Open UDP port 3478"},
	} {
		tr := trial(four, tt.trials)
		v := classify(observation{trials: []Trial{tr, tr, tr}}, true).Verdict
		if !strings.Contains(v.Reason, tt.reason) || !strings.Contains(v.Advice, tt.advice) {
			t.Errorf("%s: got %q, %q; want %q, %q", tt.trials, v.Reason, v.Advice, tt.reason, tt.advice)
		}
	}
}

func TestOverall(t *testing.T) {
	fam := func(trials string) Family {
		if trials == "" {
			return classify(observation{why: "no way"}, true)
		}
		return classify(observation{trials: []Trial{trial(four, trials), trial(four, trials)}, tally: homely, disturbs: "no"}, true)
	}
	for _, tt := range []struct{ v4, v6, relay, caveat string }{
		{"7 7 7 7", "", unlikely, ""},
		{"", "= = = =", unlikely, "IPv4 was not tested"},
		{"1 2 3 4", "= = = =", required, "peers that have IPv6"},
		{"7 7 7 7", "1 2 3 4", unlikely, ""},
		{"", "", Unknown, ""},
	} {
		v4, v6 := fam(tt.v4), fam(tt.v6)
		v := overall(&v4, &v6)
		if all := strings.Join(v.Caveats, "\n"); v.Relay != tt.relay || !strings.Contains(all, tt.caveat) {
			t.Errorf("v4 %q, v6 %q: got %s, %q; want %s, %q", tt.v4, tt.v6, v.Relay, all, tt.relay, tt.caveat)
		}
	}
}

func TestVerdictTowardsALocalServer(t *testing.T) {
	onServer := trial(two, "= =")
	onServer.Local = netip.MustParseAddrPort("203.0.113.10:40000")
	for i := range onServer.Answers {
		onServer.Answers[i].Mapped = onServer.Local
	}
	for name, tr := range map[string]Trial{
		"private":      trial([]string{"192.168.1.9:3478", "192.168.1.9:3479"}, "= ="),
		"this machine": onServer,
	} {
		f := classify(observation{trials: []Trial{tr}}, true)
		if !strings.Contains(f.Verdict.Scope, "same network") || len(f.Verdict.Caveats) == 0 {
			t.Errorf("%s: got %+v, want a scope of the same network and a caveat", name, f.Verdict)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, tt := range []struct {
		relay, turn string
		want        int
	}{
		{notRequired, "failed", 0},
		{unlikely, "not_tested", 0},
		{likely, "ok", 1},
		{required, "ok", 1},
		{likely, "failed", 3},
		{required, "failed", 3},
		{required, "not_tested", 4},
		{Unknown, "ok", 4},
	} {
		r := Report{Verdict: Verdict{Relay: tt.relay}, TURN: Relay{State: tt.turn}}
		if got := r.ExitCode(); got != tt.want {
			t.Errorf("%s, TURN %s: got %d, want %d", tt.relay, tt.turn, got, tt.want)
		}
	}
}

// IPv6 that stays silent while IPv4 answers is not blocked UDP: the server may
// not listen there.
func TestSilenceOfOneFamily(t *testing.T) {
	v4 := observation{trials: []Trial{trial(four, "7 7 7 7")}}
	v6 := observation{trials: []Trial{trial(two, "- -")}}
	var r Report
	if r.conclude(v4, v6, true); r.V6.UDP != "no_answer" || r.V6.Verdict.Relay != Unknown {
		t.Errorf("got %s, %s; want no_answer, unknown", r.V6.UDP, r.V6.Verdict.Relay)
	}
	if r.conclude(v6, observation{why: "none"}, true); r.V4.UDP != "blocked" {
		t.Errorf("got %s, want blocked", r.V4.UDP)
	}
}
