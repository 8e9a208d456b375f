//go:build linux

package browser

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	V4, V6  natFamily
	TURN    struct {
		State string
		URLs  []struct{ URL, State, Failed, Reason string }
	}
}

type natFamily struct {
	UDP, NAT  string
	Mapping   struct{ Behavior string }
	Filtering struct{ Behavior string }
	Disturbs  string `json:"inbound_disturbs"`
}

type natResult struct {
	Error, Problem string
	Report         verdicts
	Text, Headline string
	Steps          [][2]string
	Took           int
	Errors         []string
	Copied         string
	Asked          string // what the page said before it got a key
}

// natWorld is an internet with a server of two addresses on it.
type natWorld struct {
	wan  *netns.Switch
	last int
}

func newNATWorld(t *testing.T, env ...string) *natWorld {
	t.Helper()
	n := netns.New(t)
	w := &natWorld{wan: n.Switch("wan"), last: 100}
	h := n.Host("server")
	h.Join(w.wan, "eth0", server+"/24", server2+"/24")
	program.Start(t, program.Config{Host: h, HTTP: server + ":8080", Env: append([]string{
		"TURNKEY_HTTP=" + server + ":8080", "TURNKEY_PUBLIC_IP=" + server, "TURNKEY_LISTEN=" + server + "," + server2,
		"TURNKEY_SECRET=a-secret-of-the-browser-lab", "TURNKEY_AUTH=open", "TURNKEY_ALLOW_PEERS=203.0.113.0/24",
	}, env...)})
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
				t.Parallel()
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

// A server with one address says less, in a page as on the command line.
func TestNATPageOfOneAddress(t *testing.T) {
	w := newNATWorld(t, "TURNKEY_LISTEN="+server)
	names := []string{"restricted"}
	if need.Long() {
		names = append(names, "symmetric", "full cone", "port restricted", "bare masquerade", "address dependent")
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			client := w.client(t, nats[name])
			t.Parallel()
			want, title := commandLine(t, client)
			agree(t, natPage(t, client, "chromium"), want, title)
		})
	}
}

// IPv6 behind a router that lets in what was asked for, beside IPv4.
func TestNATPageOverIPv6(t *testing.T) {
	t.Parallel()
	const six, six2 = "2001:db8::10", "2001:db8::11"
	n := netns.New(t)
	wan, machine, router, client := n.Switch("wan"), n.Host("server"), n.Host("router"), n.Host("client")
	machine.Join(wan, "eth0", server+"/24", server2+"/24", six+"/64", six2+"/64")
	router.Join(wan, "wan0", "203.0.113.101/24", "2001:db8::101/64", "fe80::1/64")
	router.Cable("lan0", client, "eth0")
	router.Addr("lan0", "192.168.1.1/24", "2001:db8:1::1/64", "fe80::1/64")
	router.Sysctl("net.ipv4.ip_forward", "1")
	router.Sysctl("net.ipv6.conf.all.forwarding", "1")
	client.Addr("eth0", "192.168.1.2/24", "2001:db8:1::2/64")
	client.Route("default", "via", "192.168.1.1")
	client.Route("default", "via", "2001:db8:1::1")
	machine.Route("2001:db8:1::/64", "via", "2001:db8::101")
	router.NFT(eimPost + dropWAN + "table ip6 wall { chain c { type filter hook forward priority 0; policy drop; ct state established,related accept; iifname \"lan0\" accept; }\n}\n")
	program.Start(t, program.Config{Host: machine, HTTP: server + ":8080", Env: []string{
		"TURNKEY_HTTP=" + server + ":8080", "TURNKEY_PUBLIC_IP=" + server, "TURNKEY_LISTEN=" + strings.Join([]string{server, server2, six, six2}, ","),
		"TURNKEY_SECRET=a-secret-of-the-browser-lab", "TURNKEY_AUTH=open", "TURNKEY_ALLOW_PEERS=203.0.113.0/24",
	}})
	browsers := []string{"chromium"}
	if need.Long() {
		browsers = append(browsers, "firefox")
	}
	for _, name := range browsers {
		t.Run(name, func(t *testing.T) {
			got := natPage(t, client, name)
			for _, s := range got.Steps {
				t.Logf("%s: %s", s[0], s[1])
			}
			six := got.Report.V6
			if six.UDP != "ok" || six.NAT != "no" || six.Mapping.Behavior != "endpoint-independent" || six.Filtering.Behavior != "address-and-port-dependent" {
				t.Errorf("got IPv6 %+v, want no NAT and a firewall that lets in what was asked for", six)
			}
		})
	}
}

// Who may not have credentials may not run the test, and the page says what to
// do; the key is entered by keyboard.
func TestNATPageAsksForAKey(t *testing.T) {
	t.Parallel()
	const key = "a-key-of-the-browser-lab"
	w := newNATWorld(t, "TURNKEY_AUTH=key", "TURNKEY_API_KEY="+key)
	var got natResult
	Run(t, w.client(t, ""), "nat-page.mjs", map[string]any{"url": "http://" + server + ":8080/nat", "browser": "chromium", "key": key}, &got)
	if got.Error != "" || got.Problem != "" {
		t.Fatalf("the browser reports: %s%s", got.Error, got.Problem)
	}
	if !strings.Contains(got.Asked, "TURNKEY_API_KEY") || !strings.Contains(got.Asked, "auth_required") {
		t.Errorf("without a key the page says %q, want auth_required and TURNKEY_API_KEY in it", got.Asked)
	}
	if got.Report.TURN.State != "ok" {
		t.Errorf("with the key TURN is %q, want ok", got.Report.TURN.State)
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
		in["views"] = append(views, map[string]any{"width": 1280, "height": 1180, "scheme": "light", "fold": true, "shot": filepath.Join(dir, name+"-fold.png")},
			map[string]any{"width": 390, "height": 844, "scheme": "light", "fold": true, "shot": filepath.Join(dir, name+"-phone-fold.png")})
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
	var text []byte
	var wg sync.WaitGroup
	wg.Go(func() { text, _ = client.Command(t.Context(), program.Binary(t), "nattest", server+":8080").Output() }) // exits 1 where a relay is needed
	out, err := client.Command(t.Context(), program.Binary(t), "nattest", "-json", server+":8080").Output()
	wg.Wait()
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("nattest: %v: %q", err, out)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	title, _, _ = strings.Cut(string(text), "\n")
	return r, title
}

// agree compares what the page found with what the command line did.
func agree(t *testing.T, page natResult, want verdicts, title string) {
	t.Helper()
	got := page.Report
	for _, c := range []struct{ what, got, want string }{
		{"relay", got.Verdict.Relay, want.Verdict.Relay},
		{"UDP", got.V4.UDP, want.V4.UDP},
		{"NAT", got.V4.NAT, want.V4.NAT},
		{"mapping", got.V4.Mapping.Behavior, want.V4.Mapping.Behavior},
		{"filtering", got.V4.Filtering.Behavior, want.V4.Filtering.Behavior},
		{"inbound_disturbs", got.V4.Disturbs, want.V4.Disturbs},
		{"TURN", got.TURN.State, want.TURN.State},
	} {
		if c.got != c.want {
			t.Errorf("%s: the page says %q, the command line %q", c.what, c.got, c.want)
		}
	}
	t.Logf("%d ms, headline %q", page.Took, page.Headline)
	if page.Headline != title || got.Verdict.Reason != want.Verdict.Reason {
		t.Errorf("the page says %q: %q, the command line %q: %q", page.Headline, got.Verdict.Reason, title, want.Verdict.Reason)
	}
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
