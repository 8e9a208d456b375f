//go:build linux

package nat

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"turnkey/turnsrv/cred"
)

// checkReport holds the members of check's report that the lab judges.
type checkReport struct {
	OK     bool
	Checks []item
}

type item struct {
	Name, Target, State, Reason, Hint string
	TURN                              *struct {
		Failed string
		Code   int
	}
}

// Servers that are broken in a way that no firewall can make, each at an
// address of its own.
const (
	otherSecret = "203.0.113.12" // hands out credentials for the first server, signed with another secret
	wrongIP     = "203.0.113.13" // advertises an address that nobody has
	nobody      = "203.0.113.99"
	noPeers     = "203.0.113.14" // denies its own relays
	expired     = "203.0.113.15" // not turnkey: hands out credentials of yesterday
	backThen    = "203.0.113.16" // the same, and its clock is of yesterday too
)

// want is what check has to say of one broken server.
type want struct {
	failed    map[string]string // name and target of an item, or what they begin with -> its stage, if it is TURN, and a part of its reason or hint
	notTested []string          // names of items
}

const (
	udpURL   = "turn turn:" + server + ":3478?transport=udp"
	tcpURL   = "turn turn:" + server + ":3478?transport=tcp"
	stunPort = "stun " + server + ":3478"
	altPort  = "stun " + server + ":3479"
)

func TestCheckNamesTheCause(t *testing.T) {
	w := newWorld(t)
	w.broken(t)
	client, _ := w.outside(t)
	relays := "udp dport 49160-49359 drop"
	for _, tt := range []struct {
		name, rules string // of the server's firewall
		host        string // "": the first server
		key         string // "": the right one
		want        want
	}{
		{name: "all is well"},
		{name: "relay ports closed", rules: `iifname "eth0" ` + relays,
			want: want{failed: map[string]string{"relay_ports": "open UDP 49160-49359 (TURNKEY_RELAY_PORTS)"}}},
		{name: "relay ports closed to the server too", rules: relays,
			want: want{failed: map[string]string{"relay_ports": "open UDP 49160-49359 (TURNKEY_RELAY_PORTS)"}}},
		{name: "TCP closed", rules: "tcp dport 3478 reject with tcp reset",
			want: want{failed: map[string]string{tcpURL: "connect nothing listens on TCP port 3478"}}},
		{name: "TCP dropped", rules: "tcp dport 3478 drop",
			want: want{failed: map[string]string{tcpURL: "connect open TCP port 3478"}}},
		{name: "UDP dropped", rules: "udp dport 3478 drop",
			want: want{failed: map[string]string{udpURL: "challenge open UDP port 3478", stunPort: "open UDP port 3478"}, notTested: []string{"relay_ports"}}},
		{name: "UDP rejected", rules: "udp dport 3478 reject",
			want: want{failed: map[string]string{udpURL: "challenge open UDP port 3478", stunPort: "open UDP port 3478"}, notTested: []string{"relay_ports"}}},
		{name: "second STUN port dropped", rules: "udp dport 3479 drop",
			want: want{failed: map[string]string{altPort: "open UDP port 3479"}}},
		{name: "HTTP closed", rules: "tcp dport 8080 reject with tcp reset",
			want: want{failed: map[string]string{"http": "TURNKEY_HTTP"}, notTested: []string{"turn"}}},
		{name: "HTTP dropped", rules: "tcp dport 8080 drop",
			want: want{failed: map[string]string{"http": "TURNKEY_HTTP"}, notTested: []string{"turn"}}},
		{name: "wrong key", key: "a-key-of-somebody-else",
			want: want{failed: map[string]string{"ice": "TURNKEY_API_KEY"}, notTested: []string{"turn"}}},
		{name: "wrong secret", host: otherSecret,
			want: want{failed: map[string]string{udpURL: "allocate TURNKEY_SECRET", tcpURL: "allocate TURNKEY_SECRET"}, notTested: []string{"relay_ports"}}},
		{name: "wrong public address", host: wrongIP,
			want: want{failed: map[string]string{"relay_ports": "is " + nobody + " the server's public address (TURNKEY_PUBLIC_IP)?"}}},
		{name: "own relays denied", host: noPeers,
			want: want{failed: map[string]string{"turn turn:" + noPeers: "permission TURNKEY_DENY_PEERS"}, notTested: []string{"relay_ports"}}},
		{name: "credentials expired", host: expired,
			want: want{failed: map[string]string{udpURL: "allocate expired at", tcpURL: "allocate expired at"}, notTested: []string{"relay_ports"}}},
		{name: "clock of the credentials' server is slow", host: backThen,
			want: want{failed: map[string]string{udpURL: "allocate ; this machine's clock differs from the HTTP server's by 24 hours", tcpURL: "allocate ; this machine's clock differs"}, notTested: []string{"relay_ports"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.machine.NFT("flush ruleset\n" + filter("input", tt.rules))
			key, host := tt.key, tt.host
			if key == "" {
				key = apiKey
			}
			if host == "" {
				host = server
			}
			got := turnkey(t, client, key, "check", "-json", host+":8080")
			var r checkReport
			got.decode(t, &r)
			tt.want.compare(t, got.exit, r)
			if limit := blocked; tt.rules != "" || tt.host == wrongIP {
				got.within(t, limit)
			} else {
				got.within(t, prompt)
			}
		})
	}
}

// compare judges a report: what fails is what has to, each for its cause, and
// nothing else is left out.
func (want want) compare(t *testing.T, exit int, r checkReport) {
	t.Helper()
	if code := min(len(want.failed), 1); exit != code || r.OK != (code == 0) {
		t.Errorf("got exit code %d and ok %t, want %d and %t", exit, r.OK, code, code == 0)
	}
	found := make(map[string]bool)
	for _, it := range r.Checks {
		state := "ok"
		if slices.Contains(want.notTested, it.Name) {
			state = "not_tested"
		}
		for what, why := range want.failed {
			if !strings.HasPrefix(it.Name+" "+it.Target, what) {
				continue
			}
			state, found[what] = "failed", true
			if it.TURN != nil {
				var stage string
				if stage, why, _ = strings.Cut(why, " "); it.TURN.Failed != stage {
					t.Errorf("%s: got it to fail at %s, want at %s", it.Target, it.TURN.Failed, stage)
				}
			}
			if !contains(it.Reason+"; "+it.Hint, why) {
				t.Errorf("%s: got %q and hint %q, want %q in one", it.Target, it.Reason, it.Hint, why)
			}
		}
		if it.State != state {
			t.Errorf("%s %s: got %s (%s; %s), want %s", it.Name, it.Target, it.State, it.Reason, it.Hint, state)
		}
	}
	for what := range want.failed {
		if !found[what] {
			t.Errorf("got no item %q", what)
		}
	}
}

// broken adds the broken servers.
func (w *world) broken(t *testing.T) {
	t.Helper()
	for _, ip := range []string{otherSecret, wrongIP, noPeers, expired, backThen} {
		w.machine.Addr("eth0", ip+"/24")
	}
	w.serve(t, otherSecret, "not-"+secret, "TURNKEY_LISTEN="+otherSecret, "TURNKEY_PUBLIC_IP="+otherSecret, "TURNKEY_HOST="+server)
	w.serve(t, wrongIP, secret, "TURNKEY_LISTEN="+wrongIP, "TURNKEY_PUBLIC_IP="+nobody, "TURNKEY_HOST="+wrongIP)
	w.serve(t, noPeers, secret, "TURNKEY_LISTEN="+noPeers, "TURNKEY_PUBLIC_IP="+noPeers, "TURNKEY_DENY_PEERS="+noPeers)
	w.stale(t, expired, 0)
	w.stale(t, backThen, 24*time.Hour)
}

// stale serves HTTP that hands out credentials of yesterday for the first
// server; its clock is slow by slow.
func (w *world) stale(t *testing.T, ip string, slow time.Duration) {
	t.Helper()
	secrets, err := cred.NewSecrets(secret)
	if err != nil {
		t.Fatal(err)
	}
	username, password, err := secrets.Issue("", time.Now().Add(-23*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"iceServers": []any{map[string]any{
		"urls":     []string{strings.TrimPrefix(udpURL, "turn "), strings.TrimPrefix(tcpURL, "turn ")},
		"username": username, "credential": password,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	w.web(t, ip, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Date", time.Now().Add(-slow).UTC().Format(http.TimeFormat))
		switch r.URL.Path {
		case "/v1/ice":
			_, _ = rw.Write(body)
		case "/nattest.json":
			fmt.Fprintf(rw, `{"schema":1,"stun":[%q,%q]}`, server+":3478", server+":3479")
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

func TestCheckFromOtherPlaces(t *testing.T) {
	w := newWorld(t)
	home := w.behind(t, symmetric)
	for _, tt := range []struct {
		name string
		got  result
		want want
	}{
		{"behind a symmetric NAT", turnkey(t, home.client, apiKey, "check", "-json", api), want{}},
		{"without a key", turnkey(t, home.client, "", "check", "-json", api), want{notTested: []string{"ice", "turn"}}},
		{"on the server's own machine", turnkey(t, w.machine, apiKey, "check", "-json", api), want{notTested: []string{"relay_ports"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r checkReport
			tt.got.decode(t, &r)
			tt.want.compare(t, tt.got.exit, r)
			tt.got.within(t, prompt)
		})
	}
}
