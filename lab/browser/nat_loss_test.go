//go:build linux

package browser

import (
	"testing"

	"turnkey/lab/need"
)

// With three packets of ten lost in each direction the page may know less, and
// says nothing wrong. The short form looks behind one NAT.
func TestNATPageWithLoss(t *testing.T) {
	const loss = "table inet loss { chain c { type filter hook forward priority 0; meta l4proto udp numgen random mod 100 < 30 drop; }\n}\n"
	w := newNATWorld(t)
	for name, truth := range map[string]struct{ mapping, filtering string }{
		"full cone":       {"endpoint-independent", "endpoint-independent"},
		"restricted":      {"endpoint-independent", "address-dependent"},
		"port restricted": {"endpoint-independent", "address-and-port-dependent"},
		"symmetric":       {"address-and-port-dependent", "address-and-port-dependent"},
	} {
		for _, browser := range []string{"chromium", "firefox"} {
			if !need.Long() && (name != "restricted" || browser != "chromium") {
				continue
			}
			t.Run(browser+" "+name, func(t *testing.T) {
				client := w.client(t, nats[name]+loss)
				t.Parallel()
				got := natPage(t, client, browser)
				f := got.Report.V4
				t.Logf("%d ms, %s: mapping %s, filtering %s", got.Took, got.Headline, f.Mapping.Behavior, f.Filtering.Behavior)
				for _, c := range []struct{ what, got, want string }{
					{"mapping", f.Mapping.Behavior, truth.mapping}, {"filtering", f.Filtering.Behavior, truth.filtering},
				} {
					if c.got != c.want && c.got != "unknown" && c.got != "not_tested" {
						t.Errorf("%s: got %s, want %s or unknown", c.what, c.got, c.want)
					}
				}
			})
		}
	}
}
