//go:build linux

package nat

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"turnkey/lab/netns"
	"turnkey/lab/program"
)

// The server tests its relays of both families, and says which one is closed.
func TestServerTestsRelaysOfBothFamilies(t *testing.T) {
	for _, tt := range []struct{ name, rules, state, says string }{
		{"open", "", "ok", "a relay at " + server6 + " came through"},
		{"IPv6 closed", filter("input", "meta nfproto ipv6 "+relayPorts), "failed", "a relay at " + server6 + ", an address of this machine, did not come through"},
		{"IPv4 closed", filter("input", "meta nfproto ipv4 "+relayPorts), "failed", "a relay at " + server + ", an address of this machine, did not come through"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := netns.New(t)
			h := n.Host("server")
			h.Join(n.Switch("internet"), "eth0", server+"/24", server6+"/64")
			h.NFT(tt.rules)
			program.Start(t, program.Config{Host: h, HTTP: api, Env: []string{
				"TURNKEY_HTTP=" + api, "TURNKEY_AUTH=open", "TURNKEY_LISTEN=" + server + "," + server6, "TURNKEY_PUBLIC_IP=" + server, "TURNKEY_LOG_LEVEL=warn",
			}})
			var got struct {
				Checks map[string]struct{ State, Detail string }
			}
			tick, limit := time.NewTicker(20*time.Millisecond), time.After(slow)
			defer tick.Stop()
			for got.Checks["relay"].State == "" || strings.Contains(got.Checks["relay"].Detail, "under way") {
				select {
				case <-limit:
					t.Fatalf("got %+v for a self test", got)
				case <-tick.C:
				}
				res, err := program.Client(h).Get("http://" + api + "/readyz")
				if err != nil {
					t.Fatal(err)
				}
				err = json.NewDecoder(res.Body).Decode(&got)
				if _ = res.Body.Close(); err != nil {
					t.Fatal(err)
				}
				if failed := got.Checks["relay"].State == "failed"; failed != (res.StatusCode == http.StatusServiceUnavailable) {
					t.Errorf("got HTTP %s with %+v", res.Status, got)
				}
			}
			if c := got.Checks["relay"]; c.State != tt.state || !strings.Contains(c.Detail, tt.says) {
				t.Errorf("got %+v, want %s: %s", c, tt.state, tt.says)
			}
		})
	}
}
