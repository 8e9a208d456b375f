//go:build linux

package browser

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"turnkey/lab/need"
	"turnkey/lab/netns"
	"turnkey/lab/program"
)

const server2 = "203.0.113.11" // of the same machine

// nats are the kinds of way that a browser is put behind: rules of a router, in
// which WAN stands for its address on the internet.
var nats = map[string]string{
	"full cone":         eimPost + learnEIF,
	"restricted":        eimPost + learnADF,
	"port restricted":   eimPost + dropWAN,
	"bare masquerade":   eimPost,
	"symmetric":         table(`chain post { type nat hook postrouting priority srcnat; oifname "wan0" masquerade fully-random; }`) + dropWAN,
	"address dependent": addressDependent + dropWAN,
	"UDP blocked":       eimPost + "table inet block { chain c { type filter hook forward priority 0; meta l4proto udp drop; }\n}\n",
}

const (
	eimPost  = "table ip nat { chain post { type nat hook postrouting priority srcnat; oifname \"wan0\" masquerade; }\n}\n"
	dropWAN  = "table ip wan { chain input { type filter hook input priority 0; policy drop; iifname != \"wan0\" accept; ct state established,related accept; }\n}\n"
	learnEIF = `table ip full {
		map m { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; size 65535; }
		chain learn { type filter hook postrouting priority srcnat + 10; oifname "wan0" meta l4proto udp update @m { udp sport : ct original ip saddr . ct original proto-src }; }
		chain pre { type nat hook prerouting priority dstnat; iifname "wan0" meta l4proto udp dnat to udp dport map @m; }
	}
	` + dropWAN
	learnADF = `table ip restricted {
		map m { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; size 65535; }
		set ok { type inet_service . ipv4_addr; flags dynamic,timeout; timeout 60s; }
		chain learn { type filter hook postrouting priority srcnat + 10;
			oifname "wan0" meta l4proto udp update @m { udp sport : ct original ip saddr . ct original proto-src };
			oifname "wan0" meta l4proto udp update @ok { udp sport . ip daddr }; }
		chain pre { type nat hook prerouting priority dstnat; iifname "wan0" meta l4proto udp udp dport . ip saddr @ok dnat to udp dport map @m; }
	}
	` + dropWAN
)

var addressDependent = table(`chain post { type nat hook postrouting priority srcnat;
	oifname "wan0" meta l4proto udp ip daddr ` + server + ` snat to WAN:20000-29999;
	oifname "wan0" meta l4proto udp ip daddr ` + server2 + ` snat to WAN:30000-39999;
	oifname "wan0" meta l4proto udp snat to WAN:40000-49999;
	oifname "wan0" masquerade; }`)

func table(chain string) string { return "table ip nat {\n" + chain + "\n}\n" }

// verdicts are the members of a report in which a page and the command line
// have to agree.
type verdicts struct {
	Verdict struct{ Relay, Reason string }
	V4      struct {
		UDP, NAT  string
		Mapping   struct{ Behavior string }
		Filtering struct{ Behavior string }
		Disturbs  string `json:"inbound_disturbs"`
	}
	TURN struct {
		State string
		URLs  []struct{ URL, State, Failed, Reason string }
	}
}

type natResult struct {
	Error, Problem string
	Report         verdicts
	Text, Headline string
	Steps          [][2]string
	Took           int
	Errors         []string
	Copied         string
}

// natWorld is an internet with a server of two addresses on it.
type natWorld struct {
	wan  *netns.Switch
	last int
}

func newNATWorld(t *testing.T) *natWorld {
	t.Helper()
	n := netns.New(t)
	w := &natWorld{wan: n.Switch("wan"), last: 100}
	h := n.Host("server")
	h.Join(w.wan, "eth0", server+"/24", server2+"/24")
	program.Start(t, program.Config{Host: h, HTTP: server + ":8080", Env: []string{
		"TURNKEY_HTTP=" + server + ":8080", "TURNKEY_PUBLIC_IP=" + server, "TURNKEY_LISTEN=" + server + "," + server2,
		"TURNKEY_SECRET=a-secret-of-the-browser-lab", "TURNKEY_AUTH=open", "TURNKEY_ALLOW_PEERS=203.0.113.0/24",
	}})
	return w
}

// client is a host on the internet, or behind a router with these rules.
func (w *natWorld) client(t *testing.T, rules string) *netns.Host {
	t.Helper()
	w.last++
	n, ip := netns.New(t), fmt.Sprintf("203.0.113.%d", w.last)
	client := n.Host("client")
	if rules == "" {
		client.Join(w.wan, "eth0", ip+"/24")
		client.Route("default", "via", server)
		return client
	}
	router := n.Host("router")
	router.Join(w.wan, "wan0", ip+"/24")
	router.Cable("lan0", client, "eth0")
	router.Addr("lan0", "192.168.1.1/24")
	router.Sysctl("net.ipv4.ip_forward", "1")
	client.Addr("eth0", "192.168.1.2/24")
	client.Route("default", "via", "192.168.1.1")
	router.NFT(strings.ReplaceAll(rules, "WAN", ip))
	return client
}

// The page says what the command line says, behind each kind of NAT.
func TestNATPageAgreesWithTheCommandLine(t *testing.T) {
	w := newNATWorld(t)
	names := []string{"no NAT"}
	for name := range nats {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, browser := range []string{"chromium", "firefox"} {
		for _, name := range names {
			if browser == "firefox" && !need.Long() && !slices.Contains([]string{"port restricted", "symmetric", "no NAT"}, name) {
				continue
			}
			t.Run(browser+" "+name, func(t *testing.T) {
				client := w.client(t, nats[name])
				want, title := commandLine(t, client)
				got := natPage(t, client, browser)
				agree(t, got, want, title)
				for _, e := range got.Errors {
					t.Errorf("browser console: %s", e)
				}
			})
		}
	}
}

func natPage(t *testing.T, client *netns.Host, browser string) natResult {
	t.Helper()
	in := map[string]any{"url": "http://" + server + ":8080/nat", "browser": browser}
	if dir := os.Getenv("LAB_SHOTS"); dir != "" && browser == "chromium" {
		name := strings.NewReplacer(" ", "-", "/", "-").Replace(t.Name())
		var views []map[string]any
		for _, scheme := range []string{"light", "dark"} {
			views = append(views, map[string]any{"width": 1280, "height": 900, "scheme": scheme, "shot": filepath.Join(dir, name+"-"+scheme+".png")},
				map[string]any{"width": 390, "height": 844, "scheme": scheme, "shot": filepath.Join(dir, name+"-phone-"+scheme+".png")})
		}
		in["views"] = views
	}
	var got natResult
	Run(t, client, "nat-page.mjs", in, &got)
	if got.Error != "" || got.Problem != "" {
		t.Fatalf("the browser reports: %s%s", got.Error, got.Problem)
	}
	return got
}

// commandLine is what turnkey nattest says on the same host.
func commandLine(t *testing.T, client *netns.Host) (r verdicts, title string) {
	t.Helper()
	cmd := client.Command(t.Context(), program.Binary(t), "nattest", "-json", server+":8080")
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !asExit(err, &exit) {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("nattest: %v: %s", err, out)
	}
	text, _ := client.Command(t.Context(), program.Binary(t), "nattest", server+":8080").Output()
	title, _, _ = strings.Cut(string(text), "\n")
	return r, title
}

func asExit(err error, exit **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*exit = e
	return ok
}

// agree compares what the page found with what the command line did.
func agree(t *testing.T, page natResult, want verdicts, title string) {
	t.Helper()
	got := page.Report
	for _, c := range []struct{ what, got, want string }{
		{"relay", got.Verdict.Relay, want.Verdict.Relay},
		{"UDP", got.V4.UDP, want.V4.UDP},
		{"mapping", got.V4.Mapping.Behavior, want.V4.Mapping.Behavior},
		{"filtering", got.V4.Filtering.Behavior, want.V4.Filtering.Behavior},
		{"inbound_disturbs", got.V4.Disturbs, want.V4.Disturbs},
		{"TURN", got.TURN.State, want.TURN.State},
	} {
		if c.got != c.want {
			t.Errorf("%s: the page says %q, the command line %q", c.what, c.got, c.want)
		}
	}
	t.Logf("%d ms, headline %q, command line %q, reason %q", page.Took, page.Headline, title, got.Verdict.Reason)
	for _, s := range page.Steps {
		t.Logf("%s: %s", s[0], s[1])
	}
	if line, _, _ := strings.Cut(page.Text, "\n"); line != page.Headline {
		t.Errorf("the headline is %q, the report begins %q", page.Headline, line)
	}
	if !strings.Contains(page.Copied, page.Text) || !strings.Contains(page.Copied, `"schema": 1`) {
		t.Errorf("copied: %.200q, want the report as text and JSON", page.Copied)
	}
}
