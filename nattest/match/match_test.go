package match

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"turnkey/nattest"
	"turnkey/nattest/around"
)

// peerWith is a report of a machine whose IPv4 mapping and filtering are any of
// those named: "eim adm/apdf".
func peerWith(signs string) *nattest.Report {
	m, f, _ := strings.Cut(signs, "/")
	words := map[string]string{
		"eim": independent, "adm": onAddress, "apdm": onPort,
		"eif": independent, "adf": onAddress, "apdf": onPort,
	}
	r := &nattest.Report{Schema: 1, Time: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), Server: nattest.Server{Host: "turn.example.com"}, TURN: nattest.Relay{State: "ok"}}
	r.V4 = nattest.Family{UDP: "ok", NAT: "yes", InboundDisturbs: "no", Signature: "v4:" + strings.ToUpper(signs), Mapping: nattest.Mapping{Behavior: nattest.Unknown}, Filtering: nattest.Filtering{Behavior: nattest.Unknown}}
	r.V6 = nattest.Family{UDP: nattest.NotTested, NAT: nattest.Unknown, Mapping: nattest.Mapping{Behavior: nattest.Unknown}, Filtering: nattest.Filtering{Behavior: nattest.NotTested}}
	for _, w := range strings.Fields(m) {
		r.V4.Mapping.Possible = append(r.V4.Mapping.Possible, words[w])
	}
	for _, w := range strings.Fields(f) {
		r.V4.Filtering.Possible = append(r.V4.Filtering.Possible, words[w])
	}
	if len(r.V4.Mapping.Possible) == 1 {
		r.V4.Mapping.Behavior = r.V4.Mapping.Possible[0]
	}
	if len(r.V4.Filtering.Possible) == 1 {
		r.V4.Filtering.Behavior = r.V4.Filtering.Possible[0]
	}
	return r
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"eim/eif", "apdm/apdf", direct},
		{"eim/adf", "apdm/apdf", direct},
		{"eim/apdf", "eim/apdf", direct},
		{"eim/apdf", "adm/adf", relayNeeded},
		{"eim/apdf", "apdm/apdf", relayNeeded},
		{"apdm/apdf", "apdm/apdf", relayNeeded},
		{"adm/adf", "adm/adf", relayNeeded},
		{"eim/apdf", "apdm/eif", likelyDirect},
		{"adm/eif", "apdm/apdf", likelyDirect},
		// What is not known: only one outcome, several of one tendency, both.
		{"eim/eif adf", "apdm/apdf", direct},
		{"adm apdm/adf apdf", "eim/apdf", relayNeeded},
		{"eim adm/apdf", "eim adm/apdf", likelyDirect}, // address-dependent is rare
		{"eim adm/apdf", "apdm/apdf", relayNeeded},
		{"eim adm/eif adf", "apdm/apdf", likelyDirect},
		{"eim/", "apdm/apdf", nattest.Unknown},
		{"eim/", "eim/", direct},
		{"/", "eim/eif", direct},
		{"/", "eim/apdf", nattest.Unknown},
		{"adm apdm/", "adm apdm/", nattest.Unknown},
	} {
		for _, pair := range [][2]string{{tt.a, tt.b}, {tt.b, tt.a}} {
			p := Predict(peerWith(pair[0]), peerWith(pair[1]))
			if p.Outcome != tt.want {
				t.Errorf("%s and %s: got %s (%s), want %s", pair[0], pair[1], p.Outcome, p.Reason, tt.want)
			}
			if p.Reason == "" || p.Advice == "" || (p.Family == "v4") != (p.ExitCode() == 0) {
				t.Errorf("%s and %s: got %+v", pair[0], pair[1], p)
			}
		}
	}
}

func TestMatchBesidesTheMatrix(t *testing.T) {
	disturbed := func(r *nattest.Report) { r.V4.InboundDisturbs = "yes" }
	at := func(address, local string) func(*nattest.Report) {
		return func(r *nattest.Report) {
			r.V4.Mapped = []nattest.Mapped{{Address: netip.MustParseAddr(address)}}
			r.V4.Trials = []nattest.Trial{{Local: netip.MustParseAddrPort(local)}}
		}
	}
	none := func(*nattest.Report) {}
	for _, tt := range []struct {
		name       string
		a, b       string
		mend, also func(*nattest.Report)
		want       string
		exit       int
		says       string // in the reason or a caveat
	}{
		{"UDP blocked", "eim/eif", "eim/eif", func(r *nattest.Report) { r.V4.UDP = "blocked" }, none, relayNeeded, 1, "TCP or TLS"},
		{"UDP blocked at one, nothing tested at the other", "eim/eif", "eim/eif", func(r *nattest.Report) { r.V4.UDP = "blocked" }, func(r *nattest.Report) { r.V4.UDP = nattest.NotTested }, relayNeeded, 1, "TCP or TLS"},
		{"not tested", "eim/eif", "eim/eif", func(r *nattest.Report) { r.V4.UDP = "no_answer" }, none, nattest.Unknown, 4, "not tested"},
		{"both disturbed", "eim/apdf", "eim/apdf", disturbed, disturbed, unlikelyDirect, 1, "change the mapping"},
		{"nobody looked whether it is disturbed", "eim/apdf", "eim/apdf", func(r *nattest.Report) { r.V4.InboundDisturbs = nattest.Unknown }, none, likelyDirect, 0, "as far as could be tested"},
		{"one disturbed", "eim/apdf", "eim/apdf", disturbed, none, nattest.Unknown, 4, "change the mapping"},
		{"disturbed, the other lets in", "eim/apdf", "eim/adf", disturbed, none, direct, 0, ""},
		{"pool towards a strict filter", "apdm/apdf", "eim/adf", func(r *nattest.Report) { r.V4.Pooling = "arbitrary" }, none, unlikelyDirect, 1, "several public addresses"},
		{"pool towards an open one", "apdm/apdf", "eim/eif", func(r *nattest.Report) { r.V4.Pooling = "arbitrary" }, none, direct, 0, ""},
		{"votes differ", "eim/apdf", "eim/apdf", func(r *nattest.Report) {
			r.V4.Mapping.Votes = map[string]int{independent: 2, onAddress: 1}
		}, none, nattest.Unknown, 4, "come and go"},
		{"not stable", "eim/apdf", "eim/apdf", func(r *nattest.Report) { r.V4.Stable = "no" }, none, nattest.Unknown, 4, "come and go"},
		{"one LAN", "eim/apdf", "eim/apdf", at("203.0.113.7", "192.168.1.2:4000"), at("203.0.113.7", "192.168.1.3:4000"), likelyDirect, 0, "one network"},
		{"one CGN", "eim/apdf", "eim/apdf", at("203.0.113.7", "192.168.1.2:4000"), at("203.0.113.7", "10.0.0.3:4000"), nattest.Unknown, 4, "hairpinning"},
		{"one CGN, networks with the same addresses", "eim/apdf", "eim/apdf", func(r *nattest.Report) {
			at("203.0.113.7", "192.168.1.2:4000")(r)
			r.Around = &around.Report{CGN: around.Finding{State: around.Yes}}
		}, at("203.0.113.7", "192.168.1.3:4000"), nattest.Unknown, 4, "hairpinning"},
		{"a router that opens ports", "apdm/apdf", "apdm/apdf", none, func(r *nattest.Report) {
			at("203.0.113.7", "192.168.1.2:4000")(r)
			r.Around = &around.Report{PCP: around.Protocol{Mapping: around.Yes, External: netip.MustParseAddr("203.0.113.7")}}
		}, relayNeeded, 1, "the router of B opens ports"},
		{"TURN failed at one", "apdm/apdf", "apdm/apdf", func(r *nattest.Report) { r.TURN.State = "failed" }, none, relayNeeded, 1, "TURN failed at A"},
		{"days apart", "eim/apdf", "eim/apdf", func(r *nattest.Report) { r.Time = r.Time.AddDate(0, 0, 3) }, none, direct, 0, "72 hours apart"},
		{"IPv6 beside symmetric NATs", "apdm/apdf", "apdm/apdf", six, six, direct, 0, ""},
		{"IPv6 at one only", "apdm/apdf", "apdm/apdf", six, none, relayNeeded, 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := peerWith(tt.a), peerWith(tt.b)
			tt.mend(a)
			tt.also(b)
			p := Predict(a, b)
			if p.Outcome != tt.want || p.ExitCode() != tt.exit {
				t.Errorf("got %s and exit code %d, want %s and %d", p.Outcome, p.ExitCode(), tt.want, tt.exit)
			}
			if !strings.Contains(p.Reason+strings.Join(p.Caveats, "; "), tt.says) {
				t.Errorf("got reason %q and caveats %q, want %q in one", p.Reason, p.Caveats, tt.says)
			}
			if turned := Predict(b, a); turned.Outcome != p.Outcome {
				t.Errorf("the other way round: got %s, want %s", turned.Outcome, p.Outcome)
			}
		})
	}
}

// six gives a report IPv6 behind a stateful firewall.
func six(r *nattest.Report) {
	r.V6 = peerWith("eim/apdf").V4
	r.V6.NAT = "no"
}

func TestMatchText(t *testing.T) {
	a, b := peerWith("eim/apdf"), peerWith("apdm/apdf")
	a.Server.Host = "turn.example.com\x1b[31m"
	var out bytes.Buffer
	Predict(a, b).WriteText(&out)
	want := `RELAY NEEDED
  why     One changes its public port with the destination, and the other lets
          packets in from no port but the one it sent to.
  do      Offer TURN to both; a relay at one of the two suffices.
  A       v4:EIM/APDF, IPv6 not tested, TURN ok, seen by turn.example.com [31m
          at 2026-11-20 10:00 UTC
  B       v4:APDM/APDF, IPv6 not tested, TURN ok, seen by turn.example.com at
          2026-11-20 10:00 UTC
  note    over the other address family, which was not tested at both, there may
          be a direct way
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestReadTakesWhatRunWrites(t *testing.T) {
	at := netip.MustParseAddrPort("203.0.113.10:3478")
	page := nattest.PageFamily{Trials: []nattest.Trial{{Answers: []nattest.Answer{{Endpoint: at, Mapped: netip.MustParseAddrPort("198.51.100.1:7"), Sends: 1}}}}}
	b, err := json.Marshal(nattest.Judge(nattest.Page{V4: page, V6: nattest.PageFamily{Why: "no address"}}))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if p := Predict(r, r); p.Outcome != nattest.Unknown {
		t.Errorf("got %+v, want unknown", p)
	}
}

func TestReadRefuses(t *testing.T) {
	good := `{"schema":1,"v4":{"udp":"ok","nat":"yes","mapping":{"behavior":"unknown"},"filtering":{"behavior":"unknown"}},"v6":{"udp":"not_tested","nat":"unknown","mapping":{"behavior":"unknown"},"filtering":{"behavior":"unknown"}},"turn":{"state":"ok"}}`
	if _, err := Read(strings.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{good, "", "empty"},
		{good, "[]", "no JSON report"},
		{good, `{"schema":1,"v4":{"mapping":7}}`, "not a report"},
		{good, strings.Repeat(" ", maxReport+1), "longer than"},
		{`"schema":1`, `"schema":2`, "schema 2"},
		{`"udp":"ok"`, `"udp":"fine\u001b"`, `v4.udp is "fine"`},
		{`"nat":"unknown"`, `"nat":""`, `v6.nat is ""`},
		{`{"behavior":"unknown"}`, `{"behavior":"cone"}`, `v4.mapping.behavior is "cone"`},
		{`{"behavior":"unknown"}`, `{"behavior":"unknown","possible":["cone"]}`, `possible behavior "cone"`},
		{`"state":"ok"`, `"state":"yes"`, "turn.state"},
		{`"udp":"ok"`, `"udp":"ok","trials":[` + strings.Repeat("{},", maxListed) + "{}]", "v4 has 201 trials"},
		{`"udp":"ok"`, `"udp":"ok","mapped":[` + strings.Repeat("{},", maxListed) + "{}]", "v4 has 201 public addresses"},
	} {
		_, err := Read(strings.NewReader(strings.Replace(good, tt.old, tt.new, 1)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q for %.40q: got %v, want %q", tt.new, tt.old, err, tt.want)
		}
	}
}

func FuzzMatch(f *testing.F) {
	for _, signs := range []string{"eim/eif", "adm apdm/", "/"} {
		b, err := json.Marshal(peerWith(signs))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"error":{"message":"x"}}`))
	words := []string{direct, likelyDirect, unlikelyDirect, relayNeeded, nattest.Unknown}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Read(bytes.NewReader(b))
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(c rune) bool { return c < ' ' && c != '\n' }) {
				t.Errorf("got control characters in %q", err)
			}
			return
		}
		other := peerWith("eim/apdf")
		p, q := Predict(r, other), Predict(other, r)
		if p.Outcome != q.Outcome || !slices.Contains(words, p.Outcome) || p.Reason == "" {
			t.Errorf("got %+v and, turned round, %+v", p, q)
		}
		var out bytes.Buffer
		p.WriteText(&out)
		if strings.ContainsRune(out.String(), '\x1b') {
			t.Errorf("got an escape in %q", out.String())
		}
	})
}
