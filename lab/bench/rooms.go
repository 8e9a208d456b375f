package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	signalAddr = "127.0.0.1:13480"
	pairs      = 2000 // rooms of two that talk
	ahead      = 4    // messages under way in each direction, as fast as they can be
	each       = 60   // messages that a peer sends then; turnkey takes 200 at once of each, and 30 a second
	paceTime   = 6 * time.Second
	steady     = 25 // messages a second at most that a peer sends at half of that
	dialers    = 64 // joins under way at once
)

// signaler is a protocol of signaling, as the load speaks it.
type signaler interface {
	path(i int) string                     // of the WebSocket of peer i
	join(w *socket, i int) error           // waits until the peer is in
	meet(a, b *socket) error               // what two peers do before their candidates
	candidate(a, b *socket, n int) []byte  // the message that a sends b
	candidateOf(b []byte) (n int, ok bool) // what is in the message received
}

// signalers says how to start turnkey and PeerJS's server alike, without limits
// that the load would meet, and how to speak with them.
func signalers(dir string) ([]kind, error) {
	turnkey := filepath.Join(dir, "turnkey")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", turnkey, "turnkey/cmd/turnkey").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build turnkey: %w: %s", err, out)
	}
	install := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", dir, "peer@1.0.2")
	if out, err := install.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("install PeerJS's server (npm of Node.js): %w: %s", err, out)
	}
	script := `require(process.argv[1]).PeerServer({host: "127.0.0.1", port: 13480, concurrent_limit: 100000, alive_timeout: 3600000})`
	return []kind{
		{name: "turnkey", signaler: native{}, args: []string{turnkey, "serve"}, env: []string{
			"TURNKEY_LISTEN=127.0.0.1", "TURNKEY_PORT=13478", "TURNKEY_ALT_PORT=13479", "TURNKEY_HTTP=" + signalAddr,
			"TURNKEY_RELAY_PORTS=14000-33999", "TURNKEY_SECRET=" + secret, "TURNKEY_ALLOW_PEERS=127.0.0.0/8",
			"TURNKEY_ROOMS_MAX=100000", "TURNKEY_PEERS_PER_IP=100000", "TURNKEY_LOG_LEVEL=error", "TURNKEY_DRAIN_TIMEOUT=0s",
		}},
		{name: "peer 1.0.2", signaler: peerJS{}, args: []string{"node", "-e", script, filepath.Join(dir, "node_modules", "peer")}},
	}, nil
}

func conversations(sockets int) []measure {
	talk := func(what, unit, better string) row {
		return row{fmt.Sprintf("candidates of 250 bytes through %d rooms of two, %s", pairs, what), unit, better}
	}
	storm := func(unit, better string) row { return row{"5000 joins at once", unit, better} }
	return []measure{
		{"signal", []row{{fmt.Sprintf("resident memory of %d joined sockets", sockets), "kB each", "less"}},
			func(s *server) ([]float64, error) { return s.idle(sockets) }},
		{"signal", []row{
			talk("as fast as they can be", "per second", "more"),
			talk("as fast as they can be", "per CPU-second of the server", "more"),
			talk("at half that pace, p50", "ms", "less"),
			talk("at half that pace, p99", "ms", "less"),
			talk("both", "lost", "less"),
		}, (*server).talk},
		{"signal", []row{storm("s", "less"), storm("failed", "less"), storm("per CPU-second of the server", "more")},
			func(s *server) ([]float64, error) { return s.storm(5000) }},
	}
}

// enter opens n sockets, one after the other from each dialer, and joins with
// them. It returns those that are in, and how many are not.
func (s *server) enter(from, n int) (in []*socket, failed int) {
	sockets := make([]*socket, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range dialers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				w, err := dialSocket(s.signaler.path(from + i))
				if err == nil {
					if err = s.signaler.join(w, from+i); err != nil {
						w.Close()
					}
				}
				if err == nil {
					sockets[i] = w
				}
			}
		})
	}
	wg.Wait()
	in = slices.DeleteFunc(sockets, func(w *socket) bool { return w == nil })
	return in, n - len(in)
}

func closeAll(sockets []*socket) {
	for _, w := range sockets {
		w.Close()
	}
}

// idle returns the resident memory of a joined socket that is silent, in kB.
func (s *server) idle(n int) ([]float64, error) {
	warm, _ := s.enter(0, 200)
	closeAll(warm)
	before, err := s.memory()
	if err != nil {
		return nil, err
	}
	in, failed := s.enter(1000, n)
	defer closeAll(in)
	if failed > 0 {
		return nil, fmt.Errorf("%d of %d could not join", failed, n)
	}
	after, err := s.memory()
	return []float64{(after.resident - before.resident) / float64(n)}, err
}

// storm returns how long it takes until n peers are in that all come at once, in
// seconds, how many are not, and for how much of the server's processor time.
func (s *server) storm(n int) ([]float64, error) {
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	in, failed := s.enter(0, n)
	took := time.Since(start)
	defer closeAll(in)
	after, err := s.cpu()
	return []float64{took.Seconds(), float64(failed), float64(len(in)) / (after - before).Seconds()}, err
}

// talk has rooms of two exchange candidates as fast as the server can, and then at
// half that pace. It returns messages a second, messages a second of the server's
// processor time, p50 and p99 of their time in milliseconds at half the pace, and
// how many were lost.
func (s *server) talk() ([]float64, error) {
	in, failed := s.enter(0, 2*pairs)
	defer closeAll(in)
	if failed > 0 {
		return nil, fmt.Errorf("%d of %d could not join", failed, 2*pairs)
	}
	for i := 0; i < len(in); i += 2 {
		if err := s.signaler.meet(in[i], in[i+1]); err != nil {
			return nil, fmt.Errorf("pair %d: %w", i/2, err)
		}
	}
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	lost, err := s.flood(in)
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	after, err := s.cpu()
	if err != nil {
		return nil, err
	}
	sent := float64(len(in)*each - lost)
	pace := min(sent/took.Seconds()/2, float64(len(in)*steady))
	times, late, err := s.paced(in, pace)
	if err != nil {
		return nil, err
	}
	return []float64{sent / took.Seconds(), sent / (after - before).Seconds(), quantile(times, 0.5), quantile(times, 0.99), float64(lost + late)}, nil
}

// flood lets every peer have some messages under way until all were sent, and
// returns how many did not come.
func (s *server) flood(in []*socket) (lost int, _ error) {
	var wg sync.WaitGroup
	var missing atomic.Int64
	failures := make(chan error, len(in))
	for i, w := range in {
		to := in[i^1]
		wg.Go(func() {
			if err := w.sendAhead(s.signaler.candidate(w, to, 0), ahead); err != nil {
				failures <- err
			}
		})
	}
	wg.Wait()
	for i, w := range in {
		to := in[i^1]
		message := s.signaler.candidate(w, to, 0)
		wg.Go(func() {
			got, sent := 0, ahead
			for got < each {
				// Each that comes lets one go back.
				n, err := w.candidates(s.signaler)
				if err != nil {
					missing.Add(int64(each - got))
					return
				}
				got += n
				more := min(n, each-sent)
				sent += more
				if err := w.sendAhead(message, more); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failures)
	return int(missing.Load()), <-failures
}

// paced has peers send at a pace, all in all, and returns the times that the
// messages took, in milliseconds, and how many did not come.
func (s *server) paced(in []*socket, pace float64) (times []float64, lost int, _ error) {
	total := int(pace * paceTime.Seconds())
	sent := make([]int64, total) // when, after start
	took := make([]float64, total)
	start := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	var got atomic.Int64
	var wg sync.WaitGroup
	for _, w := range in {
		wg.Go(func() {
			_ = w.SetReadDeadline(time.Time{})
			for ctx.Err() == nil {
				b, err := w.next()
				if err != nil {
					return
				}
				if n, ok := s.signaler.candidateOf(b); ok && n < total {
					took[n] = float64(time.Since(start).Nanoseconds()-atomic.LoadInt64(&sent[n])) / 1e6
					got.Add(1)
				}
			}
		})
	}
	var err error
	for n := 0; n < total && err == nil; {
		for due := min(total, int(time.Since(start).Seconds()*pace)); n < due && err == nil; n++ {
			w, to := in[n%len(in)], in[n%len(in)^1]
			message := s.signaler.candidate(w, to, n)
			atomic.StoreInt64(&sent[n], time.Since(start).Nanoseconds())
			err = w.send(message)
		}
		time.Sleep(time.Millisecond) // the pace
	}
	for begun := time.Now(); got.Load() < int64(total) && time.Since(begun) < 10*time.Second; {
		time.Sleep(10 * time.Millisecond) // they are on their way
	}
	cancel()
	for _, w := range in {
		_ = w.SetReadDeadline(time.Now())
	}
	wg.Wait()
	times = slices.DeleteFunc(took, func(t float64) bool { return t == 0 })
	if len(times) == 0 {
		return nil, 0, errors.Join(err, errLost)
	}
	return times, total - len(times), err
}

// line is a candidate as browsers have it, with a number in its foundation.
func line(n int) string {
	return fmt.Sprintf("candidate:%d 1 udp 2122260223 192.168.178.24 50000 typ host generation 0 ufrag x7Gh network-id 1 network-cost 10", n%math.MaxInt32)
}

func lineOf(b []byte) (n int, ok bool) {
	_, rest, ok := strings.Cut(string(b), "candidate:")
	if !ok {
		return 0, false
	}
	_, err := fmt.Sscanf(rest, "%d", &n)
	return n, err == nil
}

// native is turnkey's own protocol: docs/protocol.md.
type native struct{}

func (native) path(int) string { return "/v1/ws" }

func (native) join(w *socket, i int) error {
	if err := w.send(fmt.Appendf(nil, `{"type":"join","id":1,"room":"room-%d"}`, i/2)); err != nil {
		return err
	}
	b, err := w.expect(`"welcome"`)
	if err != nil {
		return err
	}
	var welcome struct{ Peer string }
	err = json.Unmarshal(b, &welcome)
	w.id = welcome.Peer
	return err
}

const description = `v=0\r\no=- %d 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n` +
	`c=IN IP4 0.0.0.0\r\na=ice-ufrag:x7Gh\r\na=ice-pwd:012345678901234567890123\r\na=fingerprint:sha-256 ` +
	`00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\na=setup:%s\r\na=mid:0\r\na=sctp-port:5000\r\n`

func (native) meet(a, b *socket) error {
	for _, of := range []struct {
		kind, setup string
		from, to    *socket
	}{{"offer", "actpass", a, b}, {"answer", "active", b, a}} {
		sdp := fmt.Sprintf(description, time.Now().UnixNano(), of.setup)
		if err := of.from.send(fmt.Appendf(nil, `{"type":%q,"peer":%q,"sdp":"%s"}`, of.kind, of.to.id, sdp)); err != nil {
			return err
		}
		if _, err := of.to.expect(`"` + of.kind + `"`); err != nil {
			return err
		}
	}
	return nil
}

func (native) candidate(_, b *socket, n int) []byte {
	return fmt.Appendf(nil, `{"type":"candidate","peer":"%s","candidate":{"candidate":"%s","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"x7Gh"}}`, b.id, line(n))
}

func (native) candidateOf(b []byte) (int, bool) { return lineOf(b) }

// peerJS is the protocol of PeerJS 1.5.
type peerJS struct{}

func (peerJS) path(i int) string {
	return fmt.Sprintf("/peerjs?key=peerjs&id=peer-%d&token=t%d&version=1.5.5", i, i)
}

func (peerJS) join(w *socket, i int) error {
	w.id = fmt.Sprint("peer-", i)
	_, err := w.expect(`"OPEN"`)
	return err
}

func (peerJS) meet(a, b *socket) error {
	for _, of := range []struct {
		kind, setup string
		from, to    *socket
	}{{"offer", "actpass", a, b}, {"answer", "active", b, a}} {
		sdp := fmt.Sprintf(description, time.Now().UnixNano(), of.setup)
		kind := strings.ToUpper(of.kind)
		if err := of.from.send(fmt.Appendf(nil, `{"type":%q,"dst":%q,"payload":{"sdp":{"type":%q,"sdp":"%s"},"type":"data","connectionId":"dc_8f3k2m9x1q"}}`,
			kind, of.to.id, of.kind, sdp)); err != nil {
			return err
		}
		if _, err := of.to.expect(`"` + kind + `"`); err != nil {
			return err
		}
	}
	return nil
}

func (peerJS) candidate(_, b *socket, n int) []byte {
	return fmt.Appendf(nil, `{"type":"CANDIDATE","payload":{"candidate":{"candidate":"%s","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"x7Gh"},"type":"data","connectionId":"dc_8f3k2m9x1q"},"dst":"%s"}`, line(n), b.id)
}

func (peerJS) candidateOf(b []byte) (int, bool) { return lineOf(b) }

// answers reports whether the server takes a socket.
func (s *server) answers() error {
	c, err := net.DialTimeout("tcp", signalAddr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}
