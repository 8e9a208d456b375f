package nattest

import (
	"net/netip"
	"testing"
)

func TestLine(t *testing.T) {
	base := func() *Report {
		return &Report{
			Verdict: Verdict{Relay: unlikely}, TURN: Relay{State: "ok", URLs: []URLReport{
				{URL: "turn:turn.example.com:3478?transport=udp", State: "ok"},
				{URL: "turns:turn.example.com:443?transport=tcp", State: "ok"},
			}},
			V4: Family{UDP: "ok", Signature: "v4:EIM/APDF", Mapped: []Mapped{{netip.MustParseAddr("203.0.113.7"), 12}}},
			V6: Family{UDP: NotTested},
		}
	}
	for name, tt := range map[string]struct {
		change func(r *Report)
		want   string
	}{
		"no change": {func(*Report) {}, "unlikely; TURN ok; no change"},
		"counts only": {func(r *Report) { r.V4.Mapped[0].Count, r.V4.RTTMS = 3, 7 },
			"unlikely; TURN ok; no change"},
		"another NAT": {func(r *Report) {
			r.Verdict.Relay, r.V4.Signature, r.V4.Mapped[0].Address = required, "v4:APDM/APDF", netip.MustParseAddr("198.51.100.1")
		}, "required; TURN ok; verdict required, was unlikely; v4:APDM/APDF, was v4:EIM/APDF; seen as 198.51.100.1, was 203.0.113.7"},
		"TURN over TLS fails": {func(r *Report) { r.TURN.URLs[1].State = "failed" },
			"unlikely; TURN ok; TURN failing over tls 443, was none"},
		"UDP blocked": {func(r *Report) { r.Verdict.Relay, r.V4 = required, Family{UDP: "blocked"} },
			"required; TURN ok; verdict required, was unlikely; IPv4 UDP blocked, was ok; none, was v4:EIM/APDF; seen as none, was 203.0.113.7"},
	} {
		r := base()
		tt.change(r)
		if got := r.Line(base()); got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, tt.want)
		}
	}
	if got, want := base().Line(nil), "unlikely; TURN ok; IPv4 UDP ok; v4:EIM/APDF; seen as 203.0.113.7; IPv6 UDP not tested"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
