//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"turnkey/turnsrv/cred"
)

const (
	secret     = "north-north-north-north"
	realm      = "turnkey"
	serverAddr = "127.0.0.1:13478"
	clientIP   = "127.0.0.2" // so that clients and relays have ports of their own
)

// kind is a program that serves TURN or, with a signaler, signaling.
type kind struct {
	name     string
	args     []string
	env      []string
	signaler signaler
}

// kinds builds turnkey into dir, finds coturn, and says how to start them alike:
// one socket, one secret, no limits, loopback allowed, 20000 relay ports.
func kinds(dir string) ([]kind, error) {
	turnkey := filepath.Join(dir, "turnkey")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", turnkey, "turnkey/cmd/turnkey").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build turnkey: %w: %s", err, out)
	}
	coturn, err := exec.LookPath("turnserver")
	if err != nil {
		return nil, fmt.Errorf("coturn is not installed (Debian: apt-get install coturn): %w", err)
	}
	version, _ := exec.Command(coturn, "--version").Output()
	return []kind{
		{name: "turnkey", args: []string{turnkey, "serve"}, env: []string{
			"TURNKEY_LISTEN=127.0.0.1", "TURNKEY_PORT=13478", "TURNKEY_ALT_PORT=13479", "TURNKEY_HTTP=127.0.0.1:13480",
			"TURNKEY_RELAY_PORTS=14000-33999", "TURNKEY_SECRET=" + secret, "TURNKEY_ALLOW_PEERS=127.0.0.0/8",
			"TURNKEY_MAX_ALLOCATIONS_PER_USER=0", "TURNKEY_MAX_ALLOCATIONS_PER_IP=0", "TURNKEY_LOG_LEVEL=error", "TURNKEY_DRAIN_TIMEOUT=0s",
		}},
		{name: "coturn " + strings.TrimSpace(string(version)), args: []string{
			coturn, "-c", "/dev/null", "-n", "-L", "127.0.0.1", "-E", "127.0.0.1", "-p", "13478", "--min-port", "14000", "--max-port", "33999",
			"--use-auth-secret", "--static-auth-secret", secret, "-r", realm, "--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-cli",
			"--no-rfc5780", "--log-file", "/dev/null", "--no-stdout-log", "--pidfile", filepath.Join(dir, "coturn.pid"), "--userdb", filepath.Join(dir, "coturn.db"),
		}},
	}, nil
}

// server is one that runs.
type server struct {
	cmd      *exec.Cmd
	done     chan error
	secrets  *cred.Secrets
	signaler signaler
	apart    int // the processor of the load, where server and load have one each
}

func (k kind) start() (*server, error) {
	secrets, err := cred.NewSecrets(secret)
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.Command(k.args[0], k.args[1:]...), done: make(chan error, 1), secrets: secrets, signaler: k.signaler}
	s.cmd.Env, s.cmd.Stderr = append(os.Environ(), k.env...), os.Stderr
	if err := s.begin(); err != nil {
		return nil, fmt.Errorf("start %s: %w", k.name, err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	for start := time.Now(); time.Since(start) < 10*time.Second; {
		if s.serves() == nil {
			return s, nil
		}
	}
	s.stop()
	return nil, fmt.Errorf("%s does not answer", k.name)
}

// begin starts the program, one for signaling on a processor of its own.
func (s *server) begin() (err error) {
	if s.signaler == nil {
		return s.cmd.Start()
	}
	own := 0
	if s.apart, own, err = processors(); err != nil {
		return err
	}
	return on(own, s.cmd.Start)
}

// serves reports whether the server answers a challenge, or takes a connection.
func (s *server) serves() error {
	if s.signaler != nil {
		return s.answers()
	}
	c, err := dial(s)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.challenge(100 * time.Millisecond)
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// cpu returns the processor time that the server has used.
func (s *server) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(b), ") ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat is not as expected")
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// peer is a socket on loopback that is no client.
func peer() (*net.UDPConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 3)})
}
