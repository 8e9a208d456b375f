// Summary turns the JSON of several runs of go test, on stdin, into a report
// for people:
//
//	{ go test -json ./a/...; go test -json ./b/...; } | go run ./ci/summary
//
// A line for each package while they run, the whole output of what failed,
// and at the end which tests were skipped, and why, and the numbers. It exits
// with 1 if anything failed, if nothing ran, or, with CI=true in the
// environment, if a test was skipped.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	s := newSummary(os.Stdout)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
	if !s.close(os.Getenv("CI") == "true") {
		os.Exit(1)
	}
}

// event is one line of `go test -json`, see `go doc test2json`.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64 // seconds
}

type test struct{ pkg, name string }

// summary is what has been read so far.
type summary struct {
	out            io.Writer
	output         map[test][]string   // of what has not ended yet
	failing        map[string]bool     // packages with a test that failed
	ran            map[string][]string // tests that passed, by package, of packages that have not ended yet
	skipped        []string
	passed, failed int
	broken         int // packages that failed outside of any test
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: make(map[test][]string), failing: make(map[string]bool), ran: make(map[string][]string)}
}

func (s *summary) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(s.out, lines.Text()) // not from go test
			continue
		}
		s.take(e)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the JSON of go test: %w", err)
	}
	return nil
}

func (s *summary) take(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "output":
		s.output[t] = append(s.output[t], e.Output)
		return
	case "build-output":
		fmt.Fprint(s.out, e.Output)
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	if e.Test == "" {
		s.endPackage(e)
	} else {
		s.endTest(e)
	}
	delete(s.output, t)
}

func (s *summary) endTest(e event) {
	output := strings.Join(s.output[test{e.Package, e.Test}], "")
	switch e.Action {
	case "pass":
		s.passed++
		s.ran[e.Package] = append(s.ran[e.Package], e.Test)
	case "fail":
		s.failed++
		s.failing[e.Package] = true
		fmt.Fprintf(s.out, "FAIL %s %s\n%s", e.Package, e.Test, indent(output))
	case "skip":
		s.skipped = append(s.skipped, fmt.Sprintf("%s %s\n%s", e.Package, e.Test, indent(output)))
	}
}

func (s *summary) endPackage(e event) {
	switch e.Action {
	case "pass":
		what := e.Package
		if ran := s.ran[e.Package]; len(ran) == 1 { // a fuzz target, say
			what += " " + ran[0]
		}
		fmt.Fprintf(s.out, "ok   %s %.1fs\n", what, e.Elapsed)
	case "fail":
		fmt.Fprintf(s.out, "FAIL %s %.1fs\n", e.Package, e.Elapsed)
		if !s.failing[e.Package] { // a build, a panic, a time-out, a leak found by TestMain
			s.broken++
			fmt.Fprint(s.out, indent(strings.Join(s.output[test{e.Package, ""}], "")))
			s.dumpUnfinished(e.Package)
		}
	}
	delete(s.failing, e.Package)
	delete(s.ran, e.Package)
}

// dumpUnfinished prints the output of tests that were running when their
// package ended.
func (s *summary) dumpUnfinished(pkg string) {
	for t, output := range s.output {
		if t.pkg == pkg && t.name != "" {
			fmt.Fprintf(s.out, "FAIL %s %s: did not end\n%s", t.pkg, t.name, indent(strings.Join(output, "")))
			delete(s.output, t)
		}
	}
}

// close prints the end of the report and tells whether all is well.
func (s *summary) close(strict bool) bool {
	if len(s.skipped) > 0 {
		fmt.Fprintf(s.out, "\nskipped:\n%s", strings.Join(s.skipped, ""))
	}
	fmt.Fprintln(s.out)
	switch {
	case s.broken > 0:
		fmt.Fprintf(s.out, "%d packages could not be tested to the end\n", s.broken)
	case s.passed+s.failed == 0:
		fmt.Fprintln(s.out, "no test ran")
	case strict && len(s.skipped) > 0:
		fmt.Fprintln(s.out, "with CI=true a skipped test is a failure")
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.passed, s.failed+s.broken, len(s.skipped))
	return s.failed == 0 && s.broken == 0 && s.passed > 0 && (!strict || len(s.skipped) == 0)
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "=== ") { // RUN, PAUSE, CONT, NAME: noise
			continue
		}
		b.WriteString("     " + line)
	}
	return b.String()
}
