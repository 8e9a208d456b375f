//go:build linux

package nat

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"turnkey/lab/netns"
	"turnkey/turnsrv/cred"
)

// Servers that are broken in a way that nothing on the way can make, each at an
// address of its own.
const (
	otherSecret = "203.0.113.30" // hands out credentials for the first server, signed with another secret
	wrongIP     = "203.0.113.31" // advertises an address that nobody has
	nobody      = "203.0.113.99"
	noPeers     = "203.0.113.32" // denies its own relays
	expired     = "203.0.113.33" // not turnkey: hands out credentials of yesterday
	backThen    = "203.0.113.34" // the same, and its clock is of yesterday too
	ahead       = "203.0.113.35" // good credentials, and a clock that is an hour ahead
	noUpgrade   = "203.0.113.36" // a proxy that passes no Upgrade on
	limited     = "203.0.113.37" // passes half a megabit
	narrow      = "203.0.113.38" // six relay ports, of which three are open
	shut        = "203.0.113.39" // relay ports closed to the server itself, too
	both4       = "203.0.113.40"
	both6       = "2001:db8::40"
)

// checkHosts are the names of these servers.
const checkHosts = both4 + " both.lab\n" + both6 + " both.lab\n" + goodTLS + " good.lab\n" + soonTLS + " soon.lab\n" +
	oldTLS + " old.lab\n" + otherTLS + " other.lab\n" + cutTLS + " cut.lab\n" + goodTLS + " dtls.lab\n"

func brokenServers() []checkCase {
	url := func(ip, transport string) string { return "turn turn:" + ip + ":3478?transport=" + transport }
	return []checkCase{
		{name: "wrong secret", host: otherSecret + ":8080",
			want: want{failed: map[string]string{udpURL: "allocate TURNKEY_SECRET", tcpURL: "allocate TURNKEY_SECRET"}, notTested: []string{"relay_ports"}}},
		{name: "wrong public address", host: wrongIP + ":8080",
			want: want{failed: map[string]string{"relay_ports": "is " + nobody + " the server's public address (TURNKEY_PUBLIC_IP)?"}}},
		{name: "own relays denied", host: noPeers + ":8080",
			want: want{failed: map[string]string{"turn turn:" + noPeers: "permission TURNKEY_DENY_PEERS"}, notTested: []string{"relay_ports"}}},
		{name: "credentials expired", host: expired + ":8080",
			want: want{failed: map[string]string{udpURL: "allocate expired at", tcpURL: "allocate expired at", "credential": "before it was handed out"}, notTested: []string{"relay_ports"}}},
		{name: "clock of the credentials' server is slow", host: backThen + ":8080",
			want: want{
				failed: map[string]string{
					udpURL: "allocate ; this machine's clock differs from the HTTP server's by 24 hours",
					tcpURL: "allocate ; this machine's clock differs",
				},
				warned:    map[string]string{"clock": "24 hours behind this machine's"},
				notTested: []string{"relay_ports"},
			}},
		{name: "clock of the credentials' server is fast", host: ahead + ":8080",
			want: want{warned: map[string]string{"clock": "60 minutes ahead of this machine's"}}},
		{name: "a proxy strips Upgrade", host: noUpgrade + ":8080",
			want: want{failed: map[string]string{
				"websocket": "the proxy in front must pass the Upgrade and Connection headers", "stun " + noUpgrade: "open UDP port", // there is only a proxy
			}}},
		{name: "bandwidth is limited", host: limited + ":8080", full: true,
			want: want{warned: map[string]string{
				url(limited, "udp"): "TURNKEY_BANDWIDTH_PER_ALLOCATION", url(limited, "tcp"): "TURNKEY_BANDWIDTH_PER_ALLOCATION",
			}}},
		{name: "a part of the relay ports is closed", host: narrow + ":8080", full: true, rules: "udp dport 49400-49402 ct state new drop",
			want: want{failed: map[string]string{"relay_ports": "only a part of the range is open: open all of UDP 49400-49405 (TURNKEY_RELAY_PORTS)"}}},
		{name: "relay ports closed to the server too", host: shut + ":8080",
			want: want{failed: map[string]string{"relay_ports": "open UDP 49160-49359 (TURNKEY_RELAY_PORTS)"}}},
	}
}

func TestCheckNamesTheCauseOnTheServer(t *testing.T) {
	w := newWorld(t)
	w.broken(t)
	w.check(t, "", brokenServers())
}

// elsewhere runs f with another machine, which has these addresses.
func (w *world) elsewhere(t *testing.T, name string, f func(), ips ...string) {
	t.Helper()
	machine := w.machine
	w.machine = netns.New(t).Host(name)
	w.machine.Join(w.wan, "eth0")
	for _, ip := range ips {
		bits := "/24"
		if strings.Contains(ip, ":") {
			bits = "/64"
		}
		w.machine.Addr("eth0", ip+bits)
	}
	f()
	w.machine = machine
}

// bothFamilies adds a server with a name of both families, whose machine is
// the world's from then on.
func (w *world) bothFamilies(t *testing.T) {
	t.Helper()
	w.machine.Addr("eth0", both4+"/24", both6+"/64")
	w.serve(t, both4, secret, "TURNKEY_LISTEN="+both4+","+both6, "TURNKEY_PUBLIC_IP="+both4, "TURNKEY_HOST=both.lab")
}

// broken adds the broken servers.
func (w *world) broken(t *testing.T) {
	t.Helper()
	w.elsewhere(t, "shut", func() {
		w.machine.NFT(filter("input", relayPorts))
		w.serve(t, shut, secret, "TURNKEY_LISTEN="+shut, "TURNKEY_PUBLIC_IP="+shut)
	}, shut)
	w.elsewhere(t, "broken", func() {
		w.serve(t, otherSecret, "not-"+secret, "TURNKEY_LISTEN="+otherSecret, "TURNKEY_PUBLIC_IP="+otherSecret, "TURNKEY_HOST="+server)
		w.serve(t, wrongIP, secret, "TURNKEY_LISTEN="+wrongIP, "TURNKEY_PUBLIC_IP="+nobody, "TURNKEY_HOST="+wrongIP)
		w.serve(t, noPeers, secret, "TURNKEY_LISTEN="+noPeers, "TURNKEY_PUBLIC_IP="+noPeers, "TURNKEY_DENY_PEERS="+noPeers)
		w.serve(t, limited, secret, "TURNKEY_LISTEN="+limited, "TURNKEY_PUBLIC_IP="+limited, "TURNKEY_BANDWIDTH_PER_ALLOCATION=500000")
		w.serve(t, narrow, secret, "TURNKEY_LISTEN="+narrow, "TURNKEY_PUBLIC_IP="+narrow, "TURNKEY_RELAY_PORTS=49400-49405")
		w.handOut(t, expired, 0, -23*time.Hour, udpURL, tcpURL)
		w.handOut(t, backThen, -24*time.Hour, -23*time.Hour, udpURL, tcpURL)
		w.handOut(t, ahead, time.Hour, 12*time.Hour, udpURL, tcpURL)
		proxy := &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: api})
				r.Out.Header.Del("Upgrade")
				r.Out.Header.Del("Connection")
			},
			Transport: &http.Transport{DialContext: w.machine.Dial, DisableKeepAlives: true},
		}
		w.web(t, noUpgrade, proxy)
	}, otherSecret, wrongIP, noPeers, limited, narrow, expired, backThen, ahead, noUpgrade)
}

// handOut serves HTTP that hands out credentials for the first server, good
// until left from now; its clock differs by skew.
func (w *world) handOut(t *testing.T, ip string, skew, left time.Duration, items ...string) {
	t.Helper()
	secrets, err := cred.NewSecrets(secret)
	if err != nil {
		t.Fatal(err)
	}
	username, password, err := secrets.Issue("", time.Now().Add(left))
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, it := range items {
		urls = append(urls, strings.TrimPrefix(it, "turn "))
	}
	body, err := json.Marshal(map[string]any{"iceServers": []any{map[string]any{"urls": urls, "username": username, "credential": password}}})
	if err != nil {
		t.Fatal(err)
	}
	w.web(t, ip, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
		switch r.URL.Path {
		case "/v1/ice":
			_, _ = rw.Write(body)
		case "/nattest.json":
			fmt.Fprintf(rw, `{"schema":1,"stun":[%q,%q]}`, server+":3478", server+":3479")
		case "/v1/ws":
			if c, err := websocket.Accept(rw, r, nil); err == nil {
				_, _, _ = c.Read(r.Context())
				_ = c.CloseNow()
			}
		}
	}))
}

// web serves HTTP on port 8080 of ip until t ends.
func (w *world) web(t *testing.T, ip string, handler http.Handler) {
	t.Helper()
	var listener net.Listener
	err := w.machine.Do(func() (err error) {
		listener, err = net.Listen("tcp", ip+":8080")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		_ = srv.Serve(listener)
		close(done)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
}
