//go:build linux

package nat

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"turnkey/lab/need"
	"turnkey/lab/netns"
	"turnkey/nattest/around"
)

// miniupnpd does not take documentation addresses for public ones.
const realPublic = "11.22.33."

// igd are the chains that miniupnpd writes to.
const igd = `table inet igd {
	chain forward { type filter hook forward priority 0; jump igd_forward; }
	chain igd_forward { }
	chain pre { type nat hook prerouting priority dstnat; jump igd_pre; }
	chain igd_pre { }
	chain igd_post { }
}
`

// miniupnpd runs miniupnpd on a router, for UPnP, NAT-PMP and PCP; extra are
// lines of its configuration.
func miniupnpd(t *testing.T, router *netns.Host, extra ...string) {
	t.Helper()
	need.Programs(t, "miniupnpd")
	router.NFT(igd)
	natPMP := slices.Contains(extra, "enable_natpmp=yes")
	config := filepath.Join(t.TempDir(), "miniupnpd.conf")
	lines := append([]string{
		"ext_ifname=wan0", "listening_ip=lan0", "http_port=5000", "secure_mode=yes", "enable_upnp=yes",
		"uuid=9d1ee1b5-6b0c-4d3e-8f5e-000000000001", "friendly_name=the router of the lab",
		"upnp_table_name=igd", "upnp_nat_table_name=igd", "upnp_forward_chain=igd_forward",
		"upnp_nat_chain=igd_pre", "upnp_nat_postrouting_chain=igd_post",
		"allow 1024-65535 0.0.0.0/0 1024-65535", "deny 0-65535 0.0.0.0/0 0-65535",
	}, extra...)
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := router.Command(t.Context(), "miniupnpd", "-d", "-f", config, "-P", filepath.Join(t.TempDir(), "pid"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() { // until the end of the process, which the end of the test brings
		for s := bufio.NewScanner(stderr); s.Scan(); {
			if line := s.Text(); natPMP && strings.Contains(line, "Listening for NAT-PMP") || !natPMP && strings.Contains(line, "HTTP listening") {
				close(ready)
			}
		}
		_ = cmd.Wait()
	}()
	select {
	case <-ready:
	case <-time.After(5 * time.Second):
		t.Fatal("miniupnpd does not start")
	}
}

// opensPorts asks routers on which miniupnpd runs.
func (w *world) opensPorts(t *testing.T) {
	w.last++
	own := fmt.Sprint(realPublic, w.last)
	for _, tt := range []struct {
		name, external, says, advice string
		boxes                        []box
		layers                       int
		mapping                      string // can a port be opened by PCP
	}{
		{"one NAT", own, "no no", "the router offers UPnP, PCP and NAT-PMP: applications that ask it for a port are reached directly",
			[]box{{[]string{own + "/32", onWAN}, home9, source(`oifname "wan0" snat to ` + own), ""}}, 1, "yes"},
		{"two NATs", realPublic + "2", "unknown yes", "is not the public one",
			[]box{{[]string{onWAN}, realPublic + "1/24", translate, ""}, {[]string{realPublic + "2/24"}, home9, translate, ""}}, 2, "yes"},
		// miniupnpd knows what such an address means and opens nothing.
		{"operator's NAT", "", "yes yes", "is not the public one", operators, 2, "no"},
		// It is told an address that it does not have.
		{"a router that is wrong about itself", realPublic + "77", "yes yes", "is not the public one", operators, 2, ""},
	} {
		t.Run("ports, "+tt.name, func(t *testing.T) {
			client, routers, public := w.chain(t, tt.boxes...)
			router := routers[len(routers)-1]
			extra := []string{"enable_natpmp=yes"}
			switch tt.name {
			case "one NAT":
				w.machine.Route(own, "via", public)
			case "a router that is wrong about itself":
				extra = append(extra, "ext_ip="+tt.external)
			}
			miniupnpd(t, router, extra...)
			t.Parallel()
			got := lookAround(t, client)
			for name, p := range map[string]around.Protocol{"NAT-PMP": got.NATPMP, "PCP": got.PCP, "UPnP": got.UPnP} {
				external := ""
				if p.External.IsValid() {
					external = p.External.String()
				}
				if tt.mapping == "" && name == "PCP" {
					continue
				}
				if p.State != around.Available || external != tt.external || external == "" && p.Why == "" {
					t.Errorf("got %s %+v, want available with %q", name, p, tt.external)
				}
			}
			if tt.mapping != "" && got.PCP.Mapping != tt.mapping {
				t.Errorf("got PCP %+v, want mapping %s", got.PCP, tt.mapping)
			}
			if got.UPnP.Server != "the router of the lab" {
				t.Errorf("got server %q, want the friendly name", got.UPnP.Server)
			}
			if says := got.CGN.State + " " + got.DoubleNAT.State; says != tt.says || got.Layers != tt.layers {
				t.Errorf("got CGN %+v and double NAT %+v in %d layers, want %s in %d", got.CGN, got.DoubleNAT, got.Layers, tt.says, tt.layers)
			}
			if !contains(got.Advice, tt.advice) {
				t.Errorf("got advice %q, want %q in it", got.Advice, tt.advice)
			}
			if left, err := router.Command(t.Context(), "nft", "list", "chain", "inet", "igd", "igd_pre").Output(); err != nil || strings.Contains(string(left), "dnat") {
				t.Errorf("a port stays open on the router (%v): %s", err, left)
			}
		})
	}
	t.Run("ports, UPnP alone", func(t *testing.T) {
		client, routers, _ := w.chain(t, box{[]string{onWAN}, home9, translate, ""})
		miniupnpd(t, routers[0])
		t.Parallel()
		got := lookAround(t, client)
		if got.UPnP.State != around.Available || got.PCP.State != around.Absent || got.NATPMP.State != around.Absent {
			t.Errorf("got UPnP %+v, PCP %+v, NAT-PMP %+v; want available, absent, absent", got.UPnP, got.PCP, got.NATPMP)
		}
	})
	t.Run("ports, nothing", func(t *testing.T) {
		client, _, _ := w.chain(t, box{[]string{onWAN}, home9, translate, ""})
		t.Parallel()
		got := lookAround(t, client)
		if got.UPnP.State != around.Unknown || got.PCP.State != around.Absent || got.NATPMP.State != around.Absent || got.Advice != "" {
			t.Errorf("got UPnP %+v, PCP %+v, NAT-PMP %+v, advice %q; want unknown, absent, absent, none", got.UPnP, got.PCP, got.NATPMP, got.Advice)
		}
	})
}
