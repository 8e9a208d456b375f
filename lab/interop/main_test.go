//go:build linux

// Package interop lets other people's programs relay through turnkey:
// coturn's clients and pion's.
package interop

import (
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"

	"turnkey/lab/need"
	"turnkey/lab/netns"
	"turnkey/lab/program"
	"turnkey/web"
)

func TestMain(m *testing.M) { program.Main(m) }

// Addresses of the lab. They are documentation addresses: by default no peer
// may have one, except the server's own relays.
const (
	serverIP = "203.0.113.10"
	clientIP = "203.0.113.20"
	peerIP   = "203.0.113.30"
	echoPort = "3480" // where uclient expects its peer
)

const (
	apiKey = "an-API-key-of-the-interop-lab"
	secret = "a-secret-of-the-interop-lab"
)

// world is a server, a client and a peer on one network.
type world struct {
	*program.Program
	server, client *netns.Host
}

// addresses are those of the server, the client and the peer, all of a family.
type addresses struct {
	server, client, peer string
	bits                 string // of their network
}

var four = addresses{serverIP, clientIP, peerIP, "/24"}

// start brings up a world of IPv4 whose peer answers every datagram with the
// same.
func start(t *testing.T, env ...string) world { return startWith(t, []addresses{four}, env...) }

// startWith is start with these families.
func startWith(t *testing.T, families []addresses, env ...string) world {
	t.Helper()
	need.Programs(t, "turnutils_uclient", "turnutils_stunclient")
	n := netns.New(t)
	wan := n.Switch("wan")
	w := world{server: n.Host("server"), client: n.Host("client")}
	peer := n.Host("peer")
	for _, h := range []*netns.Host{w.server, w.client, peer} {
		h.Join(wan, "eth0")
	}
	for _, f := range families {
		w.server.Addr("eth0", f.server+f.bits)
		w.client.Addr("eth0", f.client+f.bits)
		peer.Addr("eth0", f.peer+f.bits)
		peer.Echo(net.JoinHostPort(f.peer, echoPort))
	}
	w.Program = program.Start(t, program.Config{Host: w.server, Env: append([]string{
		"TURNKEY_PUBLIC_IP=" + serverIP, "TURNKEY_AUTH=key", "TURNKEY_API_KEY=" + apiKey, "TURNKEY_SECRET=" + secret,
		"TURNKEY_DRAIN_TIMEOUT=1s", // uclient leaves allocations behind
	}, env...)})
	return w
}

// credential is what a client needs besides the address.
type credential struct{ username, password string }

// mint asks the server for a credential, from the client's host.
func (w world) mint(t *testing.T, label string) credential { return w.mintBy(t, apiKey, label) }

// limited returns a token with a quota that nothing here reaches: it is in the
// usernames of its credentials.
func limited(t *testing.T) string {
	t.Helper()
	token, err := web.Token{TTL: time.Hour, Allocations: 1000, Bandwidth: 10_000_000_000}.Sign(apiKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (w world) mintBy(t *testing.T, bearer, label string) credential {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+serverIP+":8080/v1/ice?label="+label, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+bearer)
	response, err := program.Client(w.client).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body struct {
		ICEServers []struct {
			Username, Credential string
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET /v1/ice: got status %s, body error %v", response.Status, err)
	}
	for _, s := range body.ICEServers {
		if s.Username != "" {
			return credential{s.Username, s.Credential}
		}
	}
	t.Fatal("GET /v1/ice: no server with a username")
	return credential{}
}
