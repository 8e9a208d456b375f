//go:build linux

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"turnkey/lab/need"
	"turnkey/lab/netns"
	"turnkey/lab/program"
)

// stacks are WebRTC stacks other than the browsers', with the script that
// drives each and the files of Debian that it needs.
var stacks = []struct {
	name, script string
	files        []string
}{
	{"aiortc", "end_aiortc.py", []string{"/usr/lib/python3/dist-packages/aiortc"}},
	{"libnice", "end_webrtcbin.py", []string{
		"/usr/lib/python3/dist-packages/gi/overrides/Gst.py",
		"/usr/lib/*/girepository-1.0/GstWebRTC-1.0.typelib",
		"/usr/lib/*/gstreamer-1.0/libgstwebrtc.so",
		"/usr/lib/*/gstreamer-1.0/libgstnice.so",
		"/usr/lib/*/gstreamer-1.0/libgstrtpmanager.so",
	}},
}

// apart is a server with a client in each of two networks that it joins and
// does not route between: what one client sends the other passes a relay.
type apart struct {
	*program.Program
	clients [2]*netns.Host
}

func startApart(t *testing.T) apart {
	t.Helper()
	n := netns.New(t)
	server := n.Host("server")
	w := apart{clients: [2]*netns.Host{n.Host("left"), n.Host("right")}}
	for i, subnet := range []string{"192.0.2.", "198.51.100."} {
		dev := fmt.Sprint("eth", i)
		w.clients[i].Cable("eth0", server, dev)
		server.Addr(dev, subnet+"1/24")
		w.clients[i].Addr("eth0", subnet+"2/24")
		w.clients[i].Route("default", "via", subnet+"1")
	}
	server.Sysctl("net.ipv4.ip_forward", "0")
	server.Addr("lo", serverIP+"/32")
	w.Program = program.Start(t, program.Config{Host: server, Env: []string{
		"TURNKEY_PUBLIC_IP=" + serverIP, "TURNKEY_AUTH=key", "TURNKEY_API_KEY=" + apiKey, "TURNKEY_SECRET=" + secret,
		"TURNKEY_DRAIN_TIMEOUT=1s"}})
	return w
}

// job is what a script is told.
type job struct {
	Role       string           `json:"role"`
	ICEServers []map[string]any `json:"iceServers"`
	Messages   int              `json:"messages"`
	Size       int              `json:"size"`
}

// iceServers asks the server for its list, from a client's host, and leaves
// the STUN URLs and the TURN URL of one transport: these stacks take one each.
func (w apart) iceServers(t *testing.T, h *netns.Host, bearer, label, transport string) (servers []map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+serverIP+":8080/v1/ice?label="+label, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+bearer)
	response, err := program.Client(h).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body struct {
		ICEServers []struct {
			URLs                 []string
			Username, Credential string
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		t.Fatalf("GET /v1/ice: status %s, %v", response.Status, err)
	}
	for _, s := range body.ICEServers {
		for _, url := range s.URLs {
			if strings.HasPrefix(url, "stun:") || strings.HasPrefix(url, "turn:") && strings.HasSuffix(url, "?transport="+transport) {
				servers = append(servers, map[string]any{"urls": []string{url}, "username": s.Username, "credential": s.Credential})
			}
		}
	}
	return servers
}

func TestOtherStacksRelay(t *testing.T) {
	w := startApart(t)
	messages, size := 50, 1000
	if need.Long() {
		messages = 2000
	}
	ran := make(map[string]string) // transports by label
	for _, stack := range stacks {
		for _, transport := range []string{"udp", "tcp"} {
			name := stack.name + "-" + transport
			t.Run(name, func(t *testing.T) {
				needFiles(t, stack.files)
				var jobs [2]job
				for i, role := range []string{"offer", "answer"} {
					label := name + "-" + role
					bearer := []string{apiKey, limited(t)}[i]
					jobs[i] = job{role, w.iceServers(t, w.clients[i], bearer, label, transport), messages, size}
					ran[label] = transport
				}
				w.run(t, stack.script, jobs)
			})
		}
	}
	if !t.Failed() {
		w.Stop(t) // libnice leaves allocations behind
		w.checkRelayed(t, ran, messages*size)
	}
}

// needFiles stops t unless each pattern is of a file.
func needFiles(t *testing.T, patterns []string) {
	t.Helper()
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(pattern); found != nil {
			pattern = found[0]
		}
		need.Path(t, pattern, "run ci/deps.sh")
	}
}

// checkRelayed checks that the sessions of each label carried the messages
// both ways, on its transport.
func (w apart) checkRelayed(t *testing.T, transports map[string]string, bytes int) {
	t.Helper()
	in, out := make(map[string]int), make(map[string]int)
	for _, r := range w.Log.Records("session ended") {
		label := r.Text("label")
		in[label] += int(r.Number("bytesIn"))
		out[label] += int(r.Number("bytesOut"))
		if got, want := r.Text("transport"), transports[label]; want != "" && got != want {
			t.Errorf("%s: a session by %q, want %q", label, got, want)
		}
	}
	for label := range transports {
		// On the wire the messages travel with the headers of SCTP and DTLS,
		// with acknowledgements, and on a busy machine more than once.
		for way, n := range map[string]int{"in": in[label], "out": out[label]} {
			if n < bytes || n > 5*bytes {
				t.Errorf("%s: the server counted %d bytes %s, want %d to %d", label, n, way, bytes, 5*bytes)
			}
		}
	}
}

// run lets the script do both jobs, each on its client, the output of one
// being the input of the other: who ends, ends the other's input.
func (w apart) run(t *testing.T, script string, jobs [2]job) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var reads, writes [2]*os.File // of the pipe into each end
	for i := range jobs {
		var err error
		if reads[i], writes[i], err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
		defer reads[i].Close()
		defer writes[i].Close()
		if err := json.NewEncoder(writes[i]).Encode(jobs[i]); err != nil {
			t.Fatal(err)
		}
	}
	var ends [2]*exec.Cmd
	var said [2]strings.Builder
	for i := range ends {
		ends[i] = w.clients[i].Command(ctx, "/usr/bin/python3", script)
		ends[i].Stdin, ends[i].Stdout, ends[i].Stderr = reads[i], writes[1-i], &said[i]
		if err := ends[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range ends {
		_, _ = reads[i].Close(), writes[i].Close()
	}
	for i, end := range ends {
		if err := end.Wait(); err != nil {
			t.Errorf("%s by %s: %v\n%s", jobs[i].Role, script, err, said[i].String())
		}
	}
}
