//go:build linux

package interop

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"turnkey/lab/need"
)

const allowPeer = "TURNKEY_ALLOW_PEERS=" + peerIP

// ways are the ways of uclient to reach a peer.
var ways = []struct {
	name string
	args []string
}{
	{"channels over udp", []string{"-e", peerIP}},
	{"channels over tcp", []string{"-e", peerIP, "-t"}},
	{"indications over udp", []string{"-e", peerIP, "-s"}},
	{"indications over tcp", []string{"-e", peerIP, "-s", "-t"}},
	{"relay to relay over udp", []string{"-y"}},
	{"relay to relay over tcp", []string{"-y", "-t"}},
	{"padded channels over udp", []string{"-e", peerIP, "-D"}},
	{"extra requests over udp", []string{"-e", peerIP, "-G"}},
}

// interval between the messages of one uclient, in milliseconds: slow enough
// that a busy machine overruns no socket's buffer.
const interval = "40"

func TestCoturnClientsLoseNothing(t *testing.T) {
	clients, messages, sizes := 6, 50, []int{333} // odd: streams have to pad
	if need.Long() {
		clients, messages, sizes = 10, 500, []int{64, 333, 1000, 1401}
	}
	for _, size := range sizes {
		// uclient makes two allocations for each client and leaves some behind.
		w := start(t, allowPeer, "TURNKEY_RELAY_PORTS=49160-50159", "TURNKEY_MAX_ALLOCATIONS_PER_USER=0",
			"TURNKEY_MAX_ALLOCATIONS_PER_IP=0", "TURNKEY_MAX_CONNECTIONS_PER_IP=0")
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			for i, way := range ways {
				t.Run(way.name, func(t *testing.T) {
					t.Parallel()
					c := w.mintBy(t, []string{apiKey, limited(t)}[i%2], fmt.Sprint("way-", i))
					args := append([]string{"-m", strconv.Itoa(clients), "-n", strconv.Itoa(messages), "-l", strconv.Itoa(size), "-z", interval}, way.args...)
					got, err := w.uclient(t, c, args...)
					if want := (traffic{clients * messages, clients * messages, 0}); err != nil || got != want {
						t.Errorf("got %+v, error %v; want %+v", got, err, want)
					}
				})
			}
		})
		w.checkCounted(t, len(ways), clients, clients*messages*size)
	}
}

// checkCounted stops the server and checks that its sessions add up to what
// the clients of each way, known by their labels, have sent.
func (w world) checkCounted(t *testing.T, ways, clients, bytes int) {
	t.Helper()
	if t.Failed() {
		return
	}
	w.Stop(t)
	in, out, sessions := make(map[string]int), make(map[string]int), make(map[string]int)
	for _, r := range w.Log.Records("session ended") {
		label := r.Text("label")
		sessions[label]++
		in[label] += int(r.Number("bytesIn"))
		out[label] += int(r.Number("bytesOut"))
	}
	for i := range ways {
		label := fmt.Sprint("way-", i)
		if in[label] != bytes || out[label] != bytes {
			t.Errorf("%s: the server counted %d bytes in and %d out in %d sessions, want %d each way", label, in[label], out[label], sessions[label], bytes)
		}
		if sessions[label] < clients {
			t.Errorf("%s: the server counted %d sessions, want %d at least", label, sessions[label], clients)
		}
	}
}

func TestCoturnClientsAreRefused(t *testing.T) {
	open := start(t, allowPeer)
	strict := start(t)
	denied := start(t, allowPeer, "TURNKEY_DENY_PEERS="+peerIP)
	good := open.mint(t, "refused")
	yesterday := time.Now().Add(-24 * time.Hour)
	const noAllocation, forbidden = "Cannot complete Allocation", "error 403"
	tests := []struct {
		name string
		on   world
		with credential
		args []string
		want string
	}{
		{"wrong password", open, credential{good.username, "wrong"}, []string{"-e", peerIP}, noAllocation},
		{"unknown username", open, credential{"alice", good.password}, []string{"-e", peerIP}, noAllocation},
		{"another user's password", open, credential{good.username + "x", good.password}, []string{"-e", peerIP}, noAllocation},
		{"expired credential", open, sign(yesterday, "late"), []string{"-e", peerIP}, noAllocation},
		{"peer denied by default", strict, good, []string{"-e", peerIP}, forbidden},
		{"DENY_PEERS wins", denied, good, []string{"-e", peerIP}, forbidden},
		{"loopback peer", open, good, []string{"-e", "127.0.0.1"}, forbidden},
		{"metadata service", open, good, []string{"-e", "169.254.169.254"}, forbidden},
	}
	for _, tt := range tests {
		for _, network := range []string{"udp", "tcp"} {
			for _, method := range []string{"channels", "indications"} {
				t.Run(tt.name+"/"+method+" over "+network, func(t *testing.T) {
					t.Parallel()
					args := append([]string{"-n", "2"}, tt.args...)
					if network == "tcp" {
						args = append(args, "-t")
					}
					if method == "indications" {
						args = append(args, "-s")
					}
					got, err := tt.on.uclient(t, tt.with, args...)
					if err == nil || !strings.Contains(err.Error(), tt.want) {
						t.Errorf("got %+v, error %v; want error %q", got, err, tt.want)
					}
				})
			}
		}
	}
}

// Another service of the server's host is out of reach, and can be let in.
func TestOwnServices(t *testing.T) {
	// uclient asks for its usual port and the next one, both outside the relay range.
	toOwn := []string{"-n", "2", "-e", serverIP}
	closed, open := start(t), start(t, "TURNKEY_ALLOW_PEERS="+serverIP+":3480-3481")
	closed.server.Echo(serverIP + ":" + echoPort)
	open.server.Echo(serverIP + ":" + echoPort)
	tests := []struct {
		name string
		on   world
		args []string
		want traffic
		err  string
	}{
		{"channel", closed, nil, traffic{}, "error 403"},
		{"indications", closed, []string{"-s"}, traffic{}, "error 403"},
		{"channel where allowed", open, nil, traffic{2, 2, 0}, ""},
		{"indications where allowed", open, []string{"-s"}, traffic{2, 2, 0}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.on.uclient(t, tt.on.mint(t, "own"), slices.Concat(toOwn, tt.args)...)
			if got != tt.want || (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %+v, error %v; want %+v, error %q", got, err, tt.want, tt.err)
			}
		})
	}
}

// The control of TestCoturnClientsAreRefused: what it changes is all that is wrong.
func TestSignedCredentialIsAccepted(t *testing.T) {
	w := start(t, allowPeer)
	got, err := w.uclient(t, sign(time.Now().Add(time.Hour), "soon"), "-n", "2", "-e", peerIP)
	if want := (traffic{2, 2, 0}); err != nil || got != want {
		t.Errorf("got %+v, error %v; want %+v", got, err, want)
	}
}

func TestStunclientSeesItsAddress(t *testing.T) {
	w := start(t)
	want := regexp.MustCompile(`UDP reflexive addr: ` + regexp.QuoteMeta(clientIP) + `:\d+`)
	for _, port := range []string{"3478", "3479"} {
		t.Run(port, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			out, err := w.client.Command(ctx, "turnutils_stunclient", "-p", port, serverIP).CombinedOutput()
			if err != nil || !want.Match(out) {
				t.Errorf("got error %v, output %q; want a match of %s", err, out, want)
			}
		})
	}
}
