package nattest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// checkNames looks at each name that clients need: the one that was given and
// those of the URLs.
func (c *Config) checkNames(ctx context.Context, t target, f facts, addrs []netip.Addr) (out []Item) {
	asked := []string{t.host}
	if _, err := netip.ParseAddr(t.host); err != nil {
		out = append(out, dnsItem(t.host, addrs, nil))
	}
	hosts := []string{}
	for _, u := range f.urls {
		hosts = append(hosts, u.Host)
	}
	for _, s := range f.doc.stun {
		host, _, _ := net.SplitHostPort(s)
		hosts = append(hosts, host)
	}
	for _, host := range hosts {
		if _, err := netip.ParseAddr(host); err == nil || host == "" || slices.Contains(asked, host) {
			continue
		}
		asked = append(asked, host)
		found, err := c.lookup(ctx, host)
		out = append(out, dnsItem(host, found, err))
	}
	return out
}

func dnsItem(host string, addrs []netip.Addr, err error) Item {
	it := Item{Name: "dns", Target: host, State: "ok"}
	if err != nil {
		it.State, it.Reason, it.Hint = "failed", plain(err), "check the name and its DNS records"
		return it
	}
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	it.Detail = strings.Join(list, ", ")
	return it
}

// checkHTTP asks /healthz and judges what /v1/ice said.
func (c *Config) checkHTTP(ctx context.Context, t target, f facts) []Item {
	if f.base == "" {
		it := Item{Name: "http", Target: f.at, State: "failed", Reason: plain(f.err)}
		it.Hint = "check that the server runs and that its HTTP port is open and published (TURNKEY_HTTP)"
		for _, b := range t.bases {
			if b.url != f.at {
				it.Hint += "; it was also sought at " + b.url
			}
		}
		return []Item{it}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	health := Item{Name: "http", Target: f.base + "/healthz", State: "ok"}
	start := time.Now()
	resp, _, err := c.get(ctx, health.Target, "")
	switch health.MS = ms(time.Since(start)); {
	case err != nil:
		health.State, health.Reason = "failed", plain(err)
	case resp.StatusCode != http.StatusOK:
		health.State, health.Reason = "failed", "HTTP "+Clean(resp.Status)
		health.Hint = "the server is starting, or could not bind all its sockets: see its log"
	}
	ice := Item{Name: "ice", Target: f.base + "/v1/ice", State: "ok"}
	switch {
	case f.refusal != "":
		if ice.State, ice.Reason = "not_tested", f.refusal; c.Key != "" && (f.status == 401 || f.status == 403) {
			ice.State, ice.Hint = "failed", "see TURNKEY_API_KEY and TURNKEY_AUTH on the server"
		}
		if f.status >= 500 {
			ice.State = "failed"
		}
	case len(f.urls) == 0:
		ice.State, ice.Reason, ice.Hint = "failed", errNoURL.Error(), "see TURNKEY_HOST and the server's log"
	}
	return []Item{health, ice}
}

// blame leaves the failure of HTTP to the certificate that caused it.
func blame(api, certificates []Item) []Item {
	for i, it := range api {
		u, err := url.Parse(it.Target)
		if err != nil || u.Scheme != "https" || it.Name != "http" || it.State != "failed" {
			continue
		}
		at := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443"))
		for _, c := range certificates {
			if c.State == "failed" && c.Target == at {
				api[i].State, api[i].Reason, api[i].Hint = "not_tested", "the certificate of "+c.Target+" is not valid", ""
			}
		}
	}
	return api
}

// checkWebSocket opens the signaling socket and waits for the answer to a ping.
func (c *Config) checkWebSocket(ctx context.Context, f facts) []Item {
	it := Item{Name: "websocket", Target: f.base + "/v1/ws", State: "not_tested", Reason: "the HTTP API does not answer"}
	if f.base == "" {
		it.Target = "WebSocket"
		return []Item{it}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	it.State, it.Reason = "ok", ""
	conn, resp, err := websocket.Dial(ctx, it.Target, &websocket.DialOptions{HTTPClient: c.HTTP})
	if err != nil {
		status := 0
		if resp != nil {
			status = resp.StatusCode
		}
		it.State = "failed"
		it.Reason, it.Hint = hintUpgrade(status, err)
		return []Item{it}
	}
	defer conn.CloseNow()
	start := time.Now()
	err = conn.Ping(conn.CloseRead(ctx))
	if it.MS = ms(time.Since(start)); err != nil {
		it.State, it.Reason, it.MS = "failed", "the upgrade is accepted, and a ping is not answered: "+plain(err), 0
		it.Hint = "does a proxy in front hold WebSocket data back? Switch its buffering off for /v1/ws"
		return []Item{it}
	}
	_ = conn.Close(websocket.StatusNormalClosure, "")
	return []Item{it}
}

// hintUpgrade says why there is no WebSocket.
func hintUpgrade(status int, err error) (reason, hint string) {
	const proxy = "the proxy in front must pass the Upgrade and Connection headers on over HTTP/1.1 (docs/operations.md, behind a reverse proxy)"
	switch reason = fmt.Sprintf("HTTP %d instead of the WebSocket upgrade", status); {
	case status == 0 || status == http.StatusSwitchingProtocols:
		return plain(err), "is there a proxy in front that cuts WebSockets off? " + proxy
	case status == http.StatusUpgradeRequired || status == http.StatusBadRequest:
		return reason + ": the server saw no upgrade", proxy
	case status == http.StatusNotFound:
		return reason, "all paths under /v1/ must lead to turnkey; see the proxy's settings"
	case status == http.StatusTooManyRequests:
		return reason + ": this address holds too many sockets", "close some, or raise TURNKEY_PEERS_PER_IP"
	case status == http.StatusServiceUnavailable:
		return reason + ": the server is full or stops", "see its log, and TURNKEY_ROOMS_MAX"
	}
	return reason, proxy
}
