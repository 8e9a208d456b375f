package nattest

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/pion/transport/v4/vnet"
)

// What the probe itself makes of networks in memory.
func TestReportIsReadable(t *testing.T) {
	for name, l := range map[string]lab{
		"symmetric":   {nat: &vnet.NATType{MappingBehavior: vnet.EndpointAddrPortDependent}, addrs: []string{serverA, serverB}},
		"one address": {nat: &vnet.NATType{}},
		"blocked":     {filter: func(vnet.Chunk) bool { return false }, noTCP: true},
	} {
		t.Run(name, func(t *testing.T) {
			l.run(t, func(t *testing.T, c Config) {
				r, err := Run(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				checkReport(t, name, r)
				checkJSON(t, r)
			})
		})
	}
}

// checkReport holds the text of a report against its golden file.
func checkReport(t *testing.T, name string, r *Report) {
	t.Helper()
	var b bytes.Buffer
	r.WriteText(&b)
	checkText(t, b.String())
	golden(t, "testdata/"+strings.ReplaceAll(strings.ReplaceAll(name, ",", ""), " ", "-")+".txt", b.String())
	if !strings.HasPrefix(b.String(), titles[r.Verdict.Relay]) {
		t.Errorf("got first line %q, want the verdict", strings.SplitN(b.String(), "\n", 2)[0])
	}
	short := strings.Split(b.String(), "\n")
	b.Reset()
	r.WriteEvidence(&b)
	for _, line := range short {
		if !strings.Contains(b.String(), line+"\n") && !strings.Contains(line, "see -verbose") {
			t.Errorf("got no %q with -verbose in:\n%s", line, b.String())
		}
	}
	if !strings.Contains(b.String(), "\nTested at ") {
		t.Errorf("got no evidence in:\n%s", b.String())
	}
}

func TestCheckReportIsReadable(t *testing.T) {
	r := CheckReport{Server: Server{Host: "turn.example.com", Notes: []string{"a note"}}, Checks: []Item{
		{Name: "http", Target: "https://turn.example.com/healthz", State: "ok", MS: 12.3},
		{Name: "ice", Target: "https://turn.example.com/v1/ice", State: "ok"},
		{Name: "stun", Target: "203.0.113.10:3478", State: "ok", MS: 8},
		{Name: "stun", Target: "[2001:db8::10]:3478", State: "not_tested", Reason: "this machine cannot send to 2001:db8::10: no route"},
		{Name: "turn", Target: "turns:turn.example.com:5349?transport=tcp", State: "failed", TURN: &URLReport{Failed: "tls"},
			Reason: "its certificate has expired, or is not valid yet", Hint: "the server needs a certificate valid for turn.example.com"},
	}}
	var b bytes.Buffer
	r.WriteText(&b)
	checkText(t, b.String())
	golden(t, "testdata/check.txt", b.String())
}

// golden compares with a file, or writes it where UPDATE is set.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant, as in %s (UPDATE=1 rewrites it):\n%s", got, file, want)
	}
}

func checkText(t *testing.T, text string) {
	t.Helper()
	all := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(all) > 1+maxLines {
		t.Errorf("got %d lines, want at most %d", len(all), 1+maxLines)
	}
	for _, line := range all {
		if n := len([]rune(line)); n > columns {
			t.Errorf("got %d columns, want at most %d: %s", n, columns, line)
		}
	}
}

// checkJSON wants the members that docs/nat.md promises, and no nulls.
func checkJSON(t *testing.T, r *Report) {
	t.Helper()
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("null")) {
		t.Errorf("got null in %s", raw)
	}
	var doc struct {
		Verdict struct{ Relay string }
		V4      struct{ Mapping struct{ Behavior string } }
	}
	if err := json.Unmarshal(raw, &doc); err != nil || doc.Verdict.Relay != r.Verdict.Relay || doc.V4.Mapping.Behavior != r.V4.Mapping.Behavior {
		t.Errorf("got %+v, %v; want verdict.relay and v4.mapping.behavior", doc, err)
	}
}
