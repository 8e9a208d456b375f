// Turnkey makes WebRTC peers connect: one binary that serves STUN, TURN with
// time-limited credentials, and the HTTP API that hands those out.
//
//	turnkey serve          run the server; no configuration needed
//	turnkey creds LABEL    print ICE servers with a fresh credential
//	turnkey help           list every command
//
// Settings are environment variables; `turnkey config` lists them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"turnkey/configs"
	"turnkey/nattest"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // something failed while running
	exitUsage   = 2 // the command line or the configuration is wrong
)

func main() { os.Exit(runMain()) }

// runMain is main without the exit: the first SIGINT or SIGTERM asks for an
// orderly end, the second one ends the process at once.
func runMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], environ(os.Environ()), os.Stdout, os.Stderr)
}

// call is one run of one command.
type call struct {
	ctx            context.Context
	args           []string
	environ        map[string]string
	stdout, stderr io.Writer
}

// command is what `turnkey NAME` does.
type command struct {
	name, args, does string
	run              func(*call) error
	help             string // more for -h, may be ""
}

func commands() []command {
	return []command{
		{"serve", "[-check] [-json]", "run the server", serve, ""},
		{"creds", "[-ttl DURATION] [-json] [LABEL]", "print ICE servers with a fresh credential", creds, ""},
		{"token", "[-room ROOM] [-subject NAME] [-perm RIGHTS] [-ttl DURATION] [-relay-ttl DURATION] [-allocations N] [-bandwidth BITS] [-json]", "print a token that stands in for the API key", token, ""},
		{"nattest", "[FLAGS] HOST [HOST2]", "say whether this network needs a relay, and why", natTest, natTestHelp},
		{"check", "[-key KEY] [-quick] [-json] [HOST]", "say whether a server, or the one here, does what it advertises", check, checkHelp},
		{"config", "[-json]", "list every setting with its value and meaning", config, ""},
		{"version", "[-json]", "print the version", version, ""},
	}
}

// run runs the command that args name and returns the exit code.
func run(ctx context.Context, args []string, environ map[string]string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(stdout)
		return exitOK
	}
	for _, cmd := range commands() {
		if cmd.name == args[0] {
			err := cmd.run(&call{ctx, args[1:], environ, stdout, stderr})
			return report(stderr, cmd, err)
		}
	}
	fmt.Fprintf(stderr, "turnkey: no command %q; `turnkey help` lists them\n", args[0])
	return exitUsage
}

// usageError is a command line that cannot be run.
type usageError struct{ error }

// report tells a person about err and returns the exit code for it.
func report(stderr io.Writer, cmd command, err error) int {
	var faults configs.Faults
	var wrong usageError
	var code exitError
	var probe *nattest.Error
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &faults):
		fmt.Fprintf(stderr, "turnkey: the configuration has %d fault(s):\n", len(faults))
		for _, f := range faults {
			fmt.Fprintf(stderr, "  %v\n", f)
		}
		return exitUsage
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "turnkey %s: %v\nusage: turnkey %s %s\n", cmd.name, err, cmd.name, cmd.args)
		return exitUsage
	}
	fmt.Fprintf(stderr, "turnkey %s: %v\n", cmd.name, err)
	if errors.As(err, &probe) {
		return probeExit(cmd.name, probe)
	}
	return exitFailure
}

func usage(w io.Writer) {
	fmt.Fprint(w, "turnkey makes WebRTC peers connect: STUN, TURN and the credentials for it in one binary.\n\nCommands:\n")
	for _, cmd := range commands() {
		fmt.Fprintf(w, "  turnkey %-8s %s\n", cmd.name, cmd.does)
	}
	fmt.Fprint(w, `
Examples:
  turnkey serve                                     everything on, for this host and its network
  TURNKEY_PUBLIC_IP=203.0.113.7 turnkey serve       behind a 1:1 NAT, as in most clouds
  TURNKEY_AUTH=key TURNKEY_API_KEY=... turnkey serve    for the internet
  turnkey creds alice                               ICE servers to paste into a client
  turnkey nattest turn.example.com                  does this network need a relay?

`+"`turnkey COMMAND -h` lists the flags of a command.\n")
}

// flags parses the flags of a command, before and after its operands, of which
// there may be at most most, and returns the operands.
func (c *call) flags(name string, most int, define func(*flag.FlagSet)) ([]string, error) {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	define(set)
	var operands []string
	for args := c.args; ; {
		if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
			set.SetOutput(c.stdout)
			for _, cmd := range commands() {
				if cmd.name == name {
					fmt.Fprintf(c.stdout, "turnkey %s %s\n%s.\n", cmd.name, cmd.args, cmd.does)
					set.PrintDefaults()
					io.WriteString(c.stdout, cmd.help)
				}
			}
			return nil, err
		} else if err != nil {
			return nil, usageError{err}
		}
		if args = set.Args(); len(args) == 0 {
			return operands, nil
		}
		if len(operands) == most {
			return nil, usageError{fmt.Errorf("unexpected argument %q", args[0])}
		}
		operands, args = append(operands, args[0]), args[1:]
	}
}

// environ turns the process environment into a map.
func environ(vars []string) map[string]string {
	m := make(map[string]string, len(vars))
	for _, v := range vars {
		if name, value, ok := strings.Cut(v, "="); ok {
			m[name] = value
		}
	}
	return m
}
