package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"

	"turnkey/configs"
	"turnkey/nattest"
)

// exitError is a result that is told by the exit code alone: it was printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// probe is one run of nattest or check: what both have in common.
type probe struct {
	*call
	name string
	cfg  nattest.Config
	json bool
}

// newProbe reads the command line: the flags of both commands, those that
// define adds, and at most most servers.
func (c *call) newProbe(name string, most int, define func(*flag.FlagSet, *nattest.Config)) (p *probe, hosts []string, err error) {
	var dialer net.Dialer
	var listener net.ListenConfig
	p = &probe{call: c, name: name, cfg: nattest.Config{
		Key: c.environ["TURNKEY_API_KEY"], ListenPacket: listener.ListenPacket, DialContext: dialer.DialContext, Around: natSystem(),
	}}
	hosts, err = c.flags(name, most, func(f *flag.FlagSet) {
		f.StringVar(&p.cfg.Key, "key", p.cfg.Key, "API `KEY` or token for the server's credentials; default $TURNKEY_API_KEY")
		jsonFlag(f, &p.json)
		if define != nil {
			define(f, &p.cfg)
		}
	})
	return p, hosts, err
}

// errNoServer is a command line without one.
var errNoServer = &nattest.Error{Usage: true, Reason: "which server?", Hint: "give a host, host:port of HTTP, or URL"}

// probeReport is what nattest and check have to say.
type probeReport interface {
	WriteText(io.Writer)
	ExitCode() int
}

// print prints a report, and returns its exit code as an error.
func (p *probe) print(r probeReport, text func(io.Writer)) error {
	if p.json {
		if err := p.printJSON(r); err != nil {
			return err
		}
	} else {
		text(p.stdout)
	}
	return exitCode(r.ExitCode())
}

func exitCode(code int) error {
	if code == exitOK {
		return nil
	}
	return exitError(code)
}

// fault is what there is instead of a report, in JSON.
type fault struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// noReport returns err, or tells it as JSON for a program to read. The exit
// code is the same.
func (p *probe) noReport(err error) error {
	var e *nattest.Error
	if !p.json || !errors.As(err, &e) {
		return err
	}
	if err := p.printJSON(map[string]fault{"error": {e.Reason, e.Hint}}); err != nil {
		return err
	}
	return exitError(probeExit(p.name, e))
}

// probeExit is the exit code where there is no report. That of check is 1 or 2.
func probeExit(name string, e *nattest.Error) int {
	if name == "check" && !e.Usage {
		return exitFailure
	}
	return e.ExitCode()
}

const checkHelp = `
It also measures round trips, loss, the path MTU and throughput (2 Mbit/s at
most) through the relays, which takes some seconds; -quick leaves that out.

Without HOST: the server that the settings of this environment describe. Run it
from somewhere else, too: only from there are firewalls seen.

Exit code: 0 nothing that was tested failed (there may be warnings), 1 something
failed, 2 usage.
`

// check says whether a server does what it advertises.
func check(c *call) error {
	p, hosts, err := c.newProbe("check", 1, func(f *flag.FlagSet, cfg *nattest.Config) {
		f.BoolVar(&cfg.Quick, "quick", false, "do not measure: a few round trips are all it takes")
	})
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		host, own, err := c.ownServer()
		if err != nil {
			return err
		}
		hosts, p.cfg.Key = []string{host}, cmp.Or(p.cfg.Key, own)
	}
	p.cfg.Host = hosts[0]
	r, err := nattest.Check(c.ctx, p.cfg)
	if err != nil {
		return p.noReport(err)
	}
	return p.print(r, r.WriteText)
}

// ownServer returns where the server of this environment serves HTTP, and the
// API key that it has: what a container's health check needs.
func (c *call) ownServer() (url, key string, err error) {
	cfg, err := configs.Load(c.environ)
	if err != nil {
		return "", "", err
	}
	kept, err := findSecret(apiKeySet(cfg), cfg.StateDir, apiKeyFile)
	if err != nil {
		return "", "", err
	}
	if len(kept.values) > 0 {
		key = kept.values[0]
	}
	return localURL(cfg.HTTP), key, nil
}
