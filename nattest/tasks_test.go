package nattest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/pion/transport/v4/vnet"
)

func TestProgressIsTold(t *testing.T) {
	l := rfc5780(&vnet.NATType{MappingLifeTime: idle[2]})
	l.run(t, func(t *testing.T, c Config) {
		var told []string
		c.Progress = func(what string) { told = append(told, what) } // in turn, or the race detector speaks
		c.Hairpin, c.Lifetime = true, idle[4]
		if _, err := Run(context.Background(), c); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"looking up server.test", "testing IPv4", "the way to the server", "TURN", "12 answers", "hairpinning", "how long mappings live", "is gone", "is still there"} {
			if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, want) }) {
				t.Errorf("got no %q in %q", want, told)
			}
		}
	})
}
