//go:build linux

package browser

import (
	"fmt"
	"strings"
	"testing"

	"turnkey/lab/need"
)

// Browsers learn their address behind a NAT from each of the four endpoints of
// a server with two addresses: all answers are the same behind a NAT that maps
// by the client alone, and differ by endpoint behind a symmetric one.
func TestBrowsersGatherByEachEndpoint(t *testing.T) {
	w := newNATWorld(t)
	var servers []string
	for _, ip := range []string{server, server2} {
		for _, port := range []string{"3478", "3479"} {
			servers = append(servers, "stun:"+ip+":"+port)
		}
	}
	kinds := map[string]int{"symmetric": len(servers)}
	if need.Long() {
		kinds["port restricted"] = 1
	}
	for kind, want := range kinds {
		client := w.client(t, nats[kind])
		nat := fmt.Sprintf("203.0.113.%d:", w.last)
		for _, name := range []string{"chromium", "firefox"} {
			t.Run(kind+" "+name, func(t *testing.T) {
				var got struct {
					Error              string
					Candidates, Errors []string
				}
				Run(t, client, "stun.mjs", map[string]any{"url": url, "browser": name, "servers": servers}, &got)
				if got.Error != "" || len(got.Errors) > 0 || len(got.Candidates) != want {
					t.Fatalf("got %v, errors %q %v; want %d addresses", got.Candidates, got.Error, got.Errors, want)
				}
				for _, c := range got.Candidates {
					if !strings.HasPrefix(c, nat) {
						t.Errorf("got %s, want the NAT's address %s", c, nat)
					}
				}
			})
		}
	}
}
