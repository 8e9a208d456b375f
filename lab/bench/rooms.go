//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	signalAddr = "127.0.0.1:13480"
	pairs      = 2000 // rooms of two that talk
	each       = 60   // messages that a peer sends then; turnkey takes 200 at once of each, and 30 a second
	paceTime   = 6 * time.Second
	dialers    = 64 // pairs that join at once
)

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
		return row{"candidates, " + what, unit, better}
	}
	storm := func(unit, better string) row { return row{"5000 joins at once", unit, better} }
	type flood struct {
		of    signaler
		ahead int
	}
	best := map[flood][]float64{} // messages a second
	half := func(of signaler, ahead int) float64 {
		return median(best[flood{of, ahead}][1:]) / 2 // the first does not count
	}
	most := func(ahead int) measure {
		what := fmt.Sprintf("%d under way each way, as fast as they can be", ahead)
		return measure{"signal", []row{talk(what, "per second", "more"), talk(what, "per CPU-second of the server", "more"), talk(what, "lost", "less")},
			func(s *server) ([]float64, error) {
				values, err := s.most(ahead)
				if err == nil {
					best[flood{s.signaler, ahead}] = append(best[flood{s.signaler, ahead}], values[0])
				}
				return values, err
			}}
	}
	var paces []row
	for _, pace := range []string{"at half of its own most with 1", "at half of peer's most with 4", "at half of its own most with 4"} {
		paces = append(paces, talk(pace+", p50", "ms", "less"), talk(pace+", p99", "ms", "less"), talk(pace, "lost", "less"),
			talk(pace, "% of the server's processor", ""))
	}
	return []measure{
		{"signal", []row{{fmt.Sprintf("resident memory of %d joined sockets", sockets), "kB each", "less"}},
			func(s *server) ([]float64, error) { return s.idle(sockets) }},
		most(4),
		most(1),
		{"signal", paces, func(s *server) ([]float64, error) {
			return s.atPaces(half(s.signaler, 1), half(peerJS{}, 4), half(s.signaler, 4))
		}},
		{"signal", []row{storm("s", "less"), storm("failed", "less"), storm("per CPU-second of the server", "more")},
			func(s *server) ([]float64, error) { return s.storm(5000) }},
	}
}

// enter has n peers join, two after each other from each dialer, and meet if they
// are to talk. It returns them, and how many could not.
func (s *server) enter(from, n int, meet bool) (l *load, failed int, err error) {
	if l, err = newLoad(n); err != nil {
		return nil, 0, err
	}
	var next, in atomic.Int64
	var wg sync.WaitGroup
	for range dialers {
		wg.Go(func() {
			for i := int(next.Add(2)) - 2; i < n; i = int(next.Add(2)) - 2 {
				in.Add(s.enterPair(l, from, i, meet))
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for {
		select {
		case <-done:
			if err != nil {
				l.close()
			}
			return l, n - int(in.Load()), err
		default:
			// Some may be pinged while others join.
			err = errors.Join(err, l.turn(10, ignore))
		}
	}
}

// enterPair has peers i and i+1 join, and returns how many could.
func (s *server) enterPair(l *load, from, i int, meet bool) (in int64) {
	var both []*socket
	for j := i; j < i+2; j++ {
		w, err := dialSocket(s.signaler.path(from + j))
		if err != nil {
			break
		}
		if err := s.signaler.join(w, from+j); err != nil {
			w.Close()
			break
		}
		both = append(both, w)
	}
	if len(both) == 2 && meet && s.signaler.meet(both[0], both[1]) != nil {
		both[0].Close()
		both[1].Close()
		return 0
	}
	for j, w := range both {
		if l.add(i+j, w, s.signaler.candidate(both[len(both)-1-j].id, line)) == nil {
			in++
		}
	}
	return in
}

// idle returns the resident memory of a joined socket that is silent, in kB.
func (s *server) idle(n int) ([]float64, error) {
	warm, _, err := s.enter(0, 200, false)
	if err != nil {
		return nil, err
	}
	warm.close()
	before, err := s.memory()
	if err != nil {
		return nil, err
	}
	in, failed, err := s.enter(1000, n, false)
	if err != nil {
		return nil, err
	}
	defer in.close()
	if failed > 0 {
		return nil, fmt.Errorf("%d of %d could not join", failed, n)
	}
	after, err := s.memory()
	return []float64{(after.resident - before.resident) / float64(n)}, err
}

// storm returns how long it takes until n peers are in that all come at once, in
// seconds, how many are not, and for how much of the server's processor time.
func (s *server) storm(n int) ([]float64, error) {
	used, err := s.cpu()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	in, failed, err := s.enter(0, n, false)
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	defer in.close()
	now, err := s.cpu()
	return []float64{took.Seconds(), float64(failed), float64(n-failed) / (now - used).Seconds()}, err
}

// talkers returns peers in rooms of two that have met.
func (s *server) talkers() (*load, error) {
	in, failed, err := s.enter(0, 2*pairs, true)
	if err == nil && failed > 0 {
		in.close()
		err = fmt.Errorf("%d of %d could not join and meet", failed, 2*pairs)
	}
	return in, err
}

// most returns how many messages go through rooms of two a second, and a second of
// the server's processor time, when each that comes lets one go back, and how many
// were lost.
func (s *server) most(ahead int) ([]float64, error) {
	in, err := s.talkers()
	if err != nil {
		return nil, err
	}
	defer in.close()
	used, err := s.cpu()
	if err != nil {
		return nil, err
	}
	start, lost := time.Now(), 0
	err = on(s.apart, func() (err error) { lost, err = in.flood(each, ahead); return err })
	if err != nil {
		return nil, err
	}
	took, sent := time.Since(start), float64(2*pairs*each-lost)
	now, err := s.cpu()
	return []float64{sent / took.Seconds(), sent / (now - used).Seconds(), float64(lost)}, err
}

// atPaces returns how a server that is warm does at some paces, for each: p50 and
// p99 of the time that messages take in milliseconds, how many are lost, and the
// share of its processor that the server takes.
func (s *server) atPaces(paces ...float64) (values []float64, _ error) {
	in, err := s.talkers()
	if err != nil {
		return nil, err
	}
	defer in.close()
	err = on(s.apart, func() error {
		if _, err := in.flood(each, 1); err != nil {
			return err
		}
		for _, rate := range paces {
			used, err := s.cpu()
			if err != nil {
				return err
			}
			start := time.Now()
			p, err := in.pace(rate, paceTime)
			if err != nil {
				return err
			}
			now, err := s.cpu()
			if err != nil {
				return err
			}
			share := 100 * (now - used).Seconds() / time.Since(start).Seconds()
			values = append(values, p.inTime(0.5), p.inTime(0.99), float64(p.lost), share)
		}
		return nil
	})
	return values, err
}

// answers reports whether the server takes a socket.
func (s *server) answers() error {
	c, err := net.DialTimeout("tcp", signalAddr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}
