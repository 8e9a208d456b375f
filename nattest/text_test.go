package nattest

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/pion/transport/v4/vnet"
)

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
				var b bytes.Buffer
				r.WriteText(&b)
				t.Log("\n" + b.String())
				checkText(t, b.String())
				if !strings.HasPrefix(b.String(), titles[r.Verdict.Relay]) {
					t.Errorf("got first line %q, want the verdict", strings.SplitN(b.String(), "\n", 2)[0])
				}
				checkJSON(t, r)
			})
		})
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
