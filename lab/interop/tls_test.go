//go:build linux

package interop

import (
	"fmt"
	"strconv"
	"testing"

	"turnkey/lab/need"
	"turnkey/lab/program"
)

// certificate is what a server needs for TLS that relays to the peer.
func certificate(t *testing.T) []string {
	t.Helper()
	return append(program.Certificate(t, "turn.example.test"), allowPeer)
}

// secureWays are the ways of uclient to reach a peer by TLS and DTLS.
var secureWays = []struct {
	name      string
	transport string // as the server has to name it
	args      []string
}{
	{"channels over tls", "tls", []string{"-e", peerIP, "-S", "-t", "-p", "5349"}},
	{"indications over tls", "tls", []string{"-e", peerIP, "-S", "-t", "-s", "-p", "5349"}},
	{"channels over tls on 443", "tls", []string{"-e", peerIP, "-S", "-t", "-p", "443"}},
	{"channels over tls on 3478", "tls", []string{"-e", peerIP, "-S", "-t", "-p", "3478"}},
	{"relay to relay over tls", "tls", []string{"-y", "-S", "-t", "-p", "5349"}},
	{"channels over dtls", "dtls", []string{"-e", peerIP, "-S", "-p", "5349"}},
	{"indications over dtls", "dtls", []string{"-e", peerIP, "-S", "-s", "-p", "5349"}},
	{"padded channels over dtls", "dtls", []string{"-e", peerIP, "-S", "-D", "-p", "5349"}},
	{"relay to relay over dtls", "dtls", []string{"-y", "-S", "-p", "5349"}},
}

func TestCoturnClientsLoseNothingOverTLS(t *testing.T) {
	clients, messages, size := 4, 50, 333 // odd: streams have to pad
	if need.Long() {
		clients, messages = 20, 1000
	}
	w := start(t, certificate(t)...)
	t.Run("ways", func(t *testing.T) {
		for i, way := range secureWays {
			t.Run(way.name, func(t *testing.T) {
				t.Parallel()
				c := w.mint(t, fmt.Sprint("way-", i))
				args := append([]string{"-m", strconv.Itoa(clients), "-n", strconv.Itoa(messages), "-l", strconv.Itoa(size)}, way.args...)
				got, err := w.uclient(t, c, args...)
				if want := (traffic{clients * messages, clients * messages, 0}); err != nil || got != want {
					t.Errorf("got %+v, error %v; want %+v", got, err, want)
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	w.checkCounted(t, len(secureWays), clients, clients*messages*size)
	transports := make(map[string]string)
	for _, r := range w.Log.Records("session ended") {
		transports[r.Text("label")] = r.Text("transport")
	}
	for i, way := range secureWays {
		if got := transports[fmt.Sprint("way-", i)]; got != way.transport {
			t.Errorf("%s: the server names it %q, want %q", way.name, got, way.transport)
		}
	}
}

func TestCoturnClientsNeedTheSecretOverTLS(t *testing.T) {
	w := start(t, certificate(t)...)
	for _, args := range [][]string{{"-S", "-t", "-p", "5349"}, {"-S", "-t", "-p", "443"}, {"-S", "-p", "5349"}} {
		got, err := w.uclient(t, credential{"alice", "wrong"}, append([]string{"-n", "2", "-e", peerIP}, args...)...)
		if err == nil {
			t.Errorf("%v: got %+v, want a refusal", args, got)
		}
	}
}
