package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"time"

	"turnkey/nattest"
)

const (
	exitUnknown     = 4                 // nattest was interrupted, or cannot tell
	defaultLifetime = 150 * time.Second // longer than the two minutes that RFC 4787 asks of a NAT
	leastEvery      = 10 * time.Second
)

const natTestHelp = `
HOST2 is another STUN server, of turnkey or not, as a second address, and so is
what -also names: only where two addresses are asked is the mapping certain.

Examples:
  turnkey nattest turn.example.com
  turnkey nattest -also stun:stun.example.net turn.example.com
  turnkey nattest -every 30s -json turn.example.com >> nat.jsonl
  turnkey nattest -all turn.example.com        takes two and a half minutes
  turnkey nattest match A.json B.json          do the peers of two reports connect?
  turnkey nattest -pair f2q9x turn.example.com on two machines: do they connect?

Exit code: 0 no relay needed, or hardly; 1 needed, and TURN works; 3 needed, and
TURN does not work; 4 unknown, or needed and TURN not tested; 5 the server does
not answer; 2 usage. With -every: that of the last run. With -pair: 0 connected
directly, 1 through a relay, 3 not at all, 4 interrupted, 5 and 2 as above.
`

// natTest says how the NAT in front of this machine behaves and whether a
// relay is needed.
func natTest(c *call) error {
	if len(c.args) > 0 && c.args[0] == "match" { // a host of that name is http://match
		c.args = c.args[1:]
		return natMatch(c)
	}
	var every time.Duration
	var verbose, all bool
	var code string
	p, hosts, err := c.newProbe("nattest", 2, func(f *flag.FlagSet, cfg *nattest.Config) {
		f.BoolVar(&verbose, "verbose", false, "print the evidence, too: every request and its answer")
		f.Var((*list)(&cfg.Also), "also", "`stun:HOST` of another STUN server, as a second address; may be repeated")
		f.DurationVar(&every, "every", 0, "run again after this `TIME`, 10s at least, until interrupted, and print a line for each run")
		f.BoolVar(&cfg.Hairpin, "hairpin", false, "test hairpinning: do two sockets here reach each other by their public addresses?")
		f.Var((*span)(&cfg.Lifetime), "lifetime", "measure how long the NAT keeps an idle mapping; takes 150s; -lifetime=TIME takes as long as that, 5s to 10m")
		f.BoolVar(&cfg.Fragments, "fragments", false, "test whether datagrams larger than a frame pass")
		f.BoolVar(&cfg.ALG, "alg", false, "test whether addresses inside packets are rewritten")
		f.BoolVar(&all, "all", false, "all of these four tests")
		f.StringVar(&code, "pair", "", "test the way to another machine, too, where the same is run with the same `CODE`")
	})
	switch {
	case err != nil:
		return err
	case len(hosts) == 0:
		return p.noReport(errNoServer)
	case isTime(hosts[0]):
		return usageError{fmt.Errorf("%q is no server; -lifetime=%s sets that flag", hosts[0], hosts[0])}
	case every != 0 && every < leastEvery:
		return usageError{fmt.Errorf("-every %s is too often: 10s or more", every)}
	case every != 0 && verbose:
		return usageError{errors.New("-every prints a line for each run; leave -verbose away, or take -json")}
	}
	p.cfg.Host, p.cfg.Also = hosts[0], append(hosts[1:], p.cfg.Also...)
	if all {
		p.cfg.Hairpin, p.cfg.Fragments, p.cfg.ALG = true, true, true
		if p.cfg.Lifetime == 0 {
			p.cfg.Lifetime = defaultLifetime
		}
	}
	switch {
	case code != "" && (every != 0 || verbose):
		return usageError{errors.New("-pair runs once, and prints no evidence: leave -every and -verbose away")}
	case code != "":
		return p.pair(code)
	case every != 0:
		return p.monitor(every)
	}
	r, err := p.run()
	if err != nil {
		return p.noReport(err)
	}
	if verbose {
		return p.print(r, r.WriteEvidence)
	}
	return p.print(r, r.WriteText)
}

// run runs the test once, telling a terminal how it goes.
func (p *probe) run() (*nattest.Report, error) {
	status := newStatus(p.stderr, p.environ["TERM"])
	defer status.clear()
	p.cfg.Progress = status.show
	return nattest.Run(p.ctx, p.cfg)
}

// monitor runs the test again and again until it is interrupted. The exit code
// is that of the last run that came to its end.
func (p *probe) monitor(every time.Duration) error {
	var last *nattest.Report
	result := exitError(exitUnknown)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		r, err := p.run()
		var e *nattest.Error
		switch {
		case p.ctx.Err() != nil:
			return exitCode(int(result))
		case err == nil:
			result = exitError(r.ExitCode())
			err = p.line(r.Time, r, r.Line(last))
			last = r
		case !errors.As(err, &e) || e.Usage:
			return p.noReport(err)
		default:
			result = exitError(e.ExitCode())
			err = p.line(time.Now(), map[string]any{"time": time.Now().UTC(), "error": fault{e.Reason, e.Hint}}, "no answer: "+e.Reason)
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			return exitCode(int(result))
		}
	}
}

// line prints one line about one run.
func (p *probe) line(at time.Time, doc any, text string) error {
	if p.json {
		e := json.NewEncoder(p.stdout)
		e.SetEscapeHTML(false)
		return e.Encode(doc)
	}
	_, err := fmt.Fprintf(p.stdout, "%s  %s\n", at.Local().Format(time.DateTime), text)
	return err
}

// isTime says that a duration stands where a server should.
func isTime(s string) bool {
	_, err := time.ParseDuration(s)
	return err == nil
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return "" }

func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// span is a flag that is a switch, or a duration.
type span time.Duration

func (s *span) String() string   { return "" }
func (s *span) IsBoolFlag() bool { return true }

func (s *span) Set(text string) error {
	if on, err := strconv.ParseBool(text); err == nil {
		*s = 0
		if on {
			*s = span(defaultLifetime)
		}
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d == 0 {
		return errors.New("want a time such as 60s")
	}
	*s = span(d)
	return nil
}
