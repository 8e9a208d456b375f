package main

import (
	"cmp"
	"context"
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

// probeReport is what nattest and check have to say.
type probeReport interface {
	WriteText(io.Writer)
	ExitCode() int
}

// probe runs one of the two probes against the server that is named.
func probe[R probeReport](c *call, name string, run func(context.Context, nattest.Config) (R, error)) error {
	var asJSON bool
	key := c.environ["TURNKEY_API_KEY"]
	hosts, err := c.flags(name, 1, func(f *flag.FlagSet) {
		f.StringVar(&key, "key", key, "API key or token for the server's credentials; default $TURNKEY_API_KEY")
		jsonFlag(f, &asJSON)
	})
	if err != nil {
		return err
	}
	if len(hosts) == 0 && name == "check" {
		host, own, err := c.ownServer()
		if err != nil {
			return err
		}
		hosts, key = []string{host}, cmp.Or(key, own)
	}
	if len(hosts) == 0 {
		return c.noReport(name, asJSON, &nattest.Error{Usage: true, Reason: "which server?", Hint: "give a host, host:port of HTTP, or URL"})
	}
	var dialer net.Dialer
	var listener net.ListenConfig
	report, err := run(c.ctx, nattest.Config{
		Host: hosts[0], Key: key, Log: nil,
		ListenPacket: listener.ListenPacket, DialContext: dialer.DialContext, Around: natSystem(),
	})
	if err != nil {
		return c.noReport(name, asJSON, err)
	}
	if asJSON {
		err = c.printJSON(report)
	} else {
		report.WriteText(c.stdout)
	}
	if code := report.ExitCode(); err == nil && code != exitOK {
		return exitError(code)
	}
	return err
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

// noReport returns err, or tells it as JSON for a program to read. The exit
// code is the same.
func (c *call) noReport(name string, asJSON bool, err error) error {
	var e *nattest.Error
	if !asJSON || !errors.As(err, &e) {
		return err
	}
	type fault struct {
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}
	if err := c.printJSON(map[string]fault{"error": {e.Reason, e.Hint}}); err != nil {
		return err
	}
	if name == "check" && !e.Usage {
		return exitError(exitFailure)
	}
	return exitError(e.ExitCode())
}

// natTest says how the NAT in front of this machine behaves and whether a
// relay is needed.
func natTest(c *call) error { return probe(c, "nattest", nattest.Run) }

// check says whether a server does what it advertises.
func check(c *call) error { return probe(c, "check", nattest.Check) }
