//go:build linux

// Package program runs the turnkey binary as an operator would: as a process
// with an environment and nothing else, on a host of a test network or on
// this machine.
//
//	p := program.Start(t, program.Config{Host: server, Env: []string{
//		"TURNKEY_PUBLIC_IP=203.0.113.10", "TURNKEY_AUTH=open"}})
//	response, err := p.Client().Get("http://203.0.113.10:8080/v1/ice")
//	p.Stop(t)
//
// A package that uses it calls [Main] as its TestMain.
package program

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"turnkey/lab/netns"
)

const (
	startLimit = 10 * time.Second       // until /healthz answers 200
	stopLimit  = 15 * time.Second       // from SIGTERM to the end of the process
	pollEvery  = 500 * time.Microsecond // of /healthz; the error of the measured start time
)

// Config says how to start the program. The zero value runs `turnkey serve`
// on this machine with no setting but those of the log.
type Config struct {
	Host *netns.Host // where; nil is this machine
	Args []string    // default: serve
	Env  []string    // settings, NAME=value; the program sees nothing else of the test's environment but PATH
	HTTP string      // address whose /healthz tells that it runs, default 127.0.0.1:8080
}

// A Program is a running turnkey.
type Program struct {
	Out, Log Lines         // what it wrote to stdout and stderr
	Started  time.Duration // from exec until /healthz answered 200

	cfg   Config
	cmd   *exec.Cmd
	begun time.Time     // just before exec
	done  chan struct{} // closed when the process has ended
}

// Launch starts the program without waiting for anything; use [Start] for a
// server that is meant to come up. It is killed when t ends.
func Launch(t testing.TB, cfg Config) *Program {
	t.Helper()
	if cfg.Args == nil {
		cfg.Args = []string{"serve"}
	}
	if cfg.HTTP == "" {
		cfg.HTTP = "127.0.0.1:8080"
	}
	p := &Program{cfg: cfg, done: make(chan struct{})}
	p.cmd = cfg.Host.Command(context.Background(), Binary(t), cfg.Args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"TURNKEY_LOG_FORMAT=json", "TURNKEY_LOG_LEVEL=debug"}, cfg.Env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.Out, &p.Log
	p.begun = time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start the program: %v", err)
	}
	go func() {
		_ = p.cmd.Wait() // the state is in p.cmd.ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("stdout of the program:\n%s\nstderr:\n%s", p.Out.tail(), p.Log.tail())
		}
	})
	return p
}

// Start starts the program and waits until it is healthy.
func Start(t testing.TB, cfg Config) *Program {
	t.Helper()
	p := Launch(t, cfg)
	client := p.Client()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for time.Since(p.begun) < startLimit {
		response, err := client.Get("http://" + p.cfg.HTTP + "/healthz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				p.Started = time.Since(p.begun)
				return p
			}
		}
		select {
		case <-p.done:
			t.Fatalf("the program ended with exit status %d before it was healthy", p.cmd.ProcessState.ExitCode())
		case <-poll.C:
		}
	}
	t.Fatalf("the program was not healthy within %s", startLimit)
	return nil
}

// Client returns an HTTP client on the host of the program.
func (p *Program) Client() *http.Client { return Client(p.cfg.Host) }

// Client returns an HTTP client on h, each request on a connection of its
// own.
func Client(h *netns.Host) *http.Client {
	return &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true},
	}
}

// Signal sends a signal to the program.
func (p *Program) Signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatalf("send %s to the program: %v", signal, err)
	}
}

// Wait waits for the end of the program and returns its exit status, or -1
// if a signal ended it. The error says that the limit passed first.
func (p *Program) Wait(limit time.Duration) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		return 0, errors.New("the program still runs after " + limit.String())
	}
}

// Stop ends the program as systemd would, by SIGTERM, and checks that it
// goes in time and with exit status 0. It returns how long that took.
func (p *Program) Stop(t testing.TB) time.Duration {
	t.Helper()
	begin := time.Now()
	p.Signal(t, syscall.SIGTERM)
	code, err := p.Wait(stopLimit)
	if err != nil {
		t.Fatalf("after SIGTERM: %v", err)
	}
	if code != 0 {
		t.Errorf("after SIGTERM: got exit status %d, want 0", code)
	}
	return time.Since(begin)
}
