//go:build linux

package nat

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// report holds the members of nattest's report that the lab judges.
type report struct {
	Server  struct{ HTTP string }
	Verdict struct {
		Relay   string
		Caveats []string
	}
	V4, V6 family
	TURN   struct {
		State string
		URLs  []struct{ URL, State, Failed string }
	}
}

type family struct {
	UDP, NAT, Pooling, Classic, Signature, NAT64 string
	Ports                                        string `json:"port_preservation"`
	Disturbs                                     string `json:"inbound_disturbs"`
	Mapping, Filtering                           behavior
	Mapped                                       []struct{ Address string }
	Verdict                                      struct{ Relay string }
}

type behavior struct {
	Behavior, Level string
	Possible        []string
}

// truth is what a report has to say. Each member holds the words that are
// right, of which the first is what a perfect probe says; one that is empty is
// not compared. 'unknown' is right only where it is listed.
type truth struct {
	relay, mapping, filtering          string
	nat, udp, disturbs, classic, nat64 string
	turn                               string // ok if it is empty
	v6                                 bool   // all this is said of IPv6, and the verdict is still the machine's
	unsure                             bool   // packets get lost: unknown is right everywhere, and the verdict that goes with an unknown filter
}

// wrong lists what a report says that is not so; want is what it should say.
func (want truth) wrong(exit int, r report) (out []string) {
	f := r.V4
	if want.v6 {
		f = r.V6
	}
	differs := func(what, got, right string) {
		words := strings.Fields(right)
		if want.unsure {
			words = append(words, unknown, "not_tested")
			words = append(words, map[string]string{"not_required": "unlikely", "likely": "required"}[right])
		}
		if right != "" && !slices.Contains(words, got) {
			out = append(out, fmt.Sprintf("%s is %q, want %s", what, got, right))
		}
	}
	differs("relay", f.Verdict.Relay, want.relay)
	differs("mapping", f.Mapping.Behavior, want.mapping)
	differs("filtering", f.Filtering.Behavior, want.filtering)
	differs("nat", f.NAT, want.nat)
	differs("inbound_disturbs", f.Disturbs, want.disturbs)
	differs("nat64", f.NAT64, want.nat64)
	if want.classic != "" && f.Classic != want.classic && (f.Classic != "" || !want.unsure) {
		out = append(out, fmt.Sprintf("classic is %q, want %q", f.Classic, want.classic))
	}
	if want.udp != "" && f.UDP != want.udp && (f.UDP != "partial" || !want.unsure) {
		out = append(out, fmt.Sprintf("udp is %q, want %s", f.UDP, want.udp))
	}
	for _, b := range []struct {
		what  string
		got   behavior
		right string
	}{{"mapping", f.Mapping, want.mapping}, {"filtering", f.Filtering, want.filtering}} {
		if words := strings.Fields(b.right); len(words) > 0 && words[0] != unknown && !slices.Contains(b.got.Possible, words[0]) {
			out = append(out, fmt.Sprintf("possible %ss are %v, without %s", b.what, b.got.Possible, words[0]))
		}
	}
	turn := want.turn
	if turn == "" {
		turn = "ok"
	}
	// Where UDP is blocked nothing tells how much gets lost, and TCP may be too
	// slow to be seen to work.
	excused := want.unsure && (r.TURN.State == "not_tested" || want.udp == "blocked")
	if !slices.Contains(strings.Fields(turn), r.TURN.State) && !excused {
		out = append(out, fmt.Sprintf("turn is %q, want %q", r.TURN.State, turn))
	}
	if code := exitCode(r); exit != code {
		out = append(out, fmt.Sprintf("exit code is %d, want %d", exit, code))
	}
	return out
}

// exitCode is what docs/nat.md says of a report.
func exitCode(r report) int {
	switch r.Verdict.Relay {
	case "not_required", "unlikely":
		return 0
	case "likely", "required":
		return map[string]int{"ok": 1, "failed": 3}[r.TURN.State] + map[string]int{"not_tested": 4}[r.TURN.State]
	}
	return 4
}

// compare fails t where a report is wrong.
func (want truth) compare(t *testing.T, exit int, r report) {
	t.Helper()
	for _, what := range want.wrong(exit, r) {
		t.Error(what)
	}
}

// undecided says that a report leaves the relay question open.
func (r report) undecided() bool { return r.Verdict.Relay == unknown }
