package match

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"turnkey/nattest"
)

// maxReport bounds what Read reads, in bytes.
const maxReport = 4 << 20

// maxListed bounds the lists in it that a prediction compares with each other:
// a run has a dozen sockets.
const maxListed = 200

// Read reads a report that `turnkey nattest -json` wrote, and checks that
// it is one: what it says of the network is taken as it is. The error says what
// the file is instead.
func Read(r io.Reader) (*nattest.Report, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxReport+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxReport:
		return nil, fmt.Errorf("longer than a report can be (%d MiB)", maxReport>>20)
	case len(bytes.TrimSpace(b)) == 0:
		return nil, errors.New("empty: was it written by a run that ended?")
	}
	var kind struct {
		Schema *int            `json:"schema"`
		Checks json.RawMessage `json:"checks"`
		V4     json.RawMessage `json:"v4"`
		Error  *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(b, &kind); err != nil {
		return nil, errors.New("no JSON report: write one with `turnkey nattest -json HOST`")
	}
	switch {
	case kind.Error != nil:
		return nil, fmt.Errorf("the outcome of a run without a report: %s", nattest.Clean(kind.Error.Message))
	case kind.Checks != nil:
		return nil, errors.New("a report of `turnkey check`: a NAT is described by `turnkey nattest -json HOST`")
	case kind.Schema == nil || kind.V4 == nil:
		return nil, errors.New("no report of `turnkey nattest -json`")
	case *kind.Schema != 1:
		return nil, fmt.Errorf("schema %d, this program knows 1", *kind.Schema)
	}
	var report nattest.Report
	if err := json.Unmarshal(b, &report); err != nil {
		return nil, fmt.Errorf("not a report of `turnkey nattest -json`: %s", nattest.Clean(err.Error()))
	}
	if err := errors.Join(sane(&report.V4, "v4"), sane(&report.V6, "v6")); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"ok", "failed", nattest.NotTested}, report.TURN.State) {
		return nil, fmt.Errorf("turn.state is %q, which no report has", nattest.Clean(report.TURN.State))
	}
	return &report, nil
}

// sane checks the words that a prediction rests on.
func sane(f *nattest.Family, name string) error {
	behaviors := []string{independent, onAddress, onPort}
	for _, w := range []struct {
		what, got string
		want      []string
	}{
		{"udp", f.UDP, []string{"ok", "partial", "blocked", "no_answer", nattest.NotTested}},
		{"nat", f.NAT, []string{"yes", "no", nattest.Unknown}},
		{"mapping.behavior", f.Mapping.Behavior, append(behaviors[:3:3], nattest.Unknown)},
		{"filtering.behavior", f.Filtering.Behavior, append(behaviors[:3:3], nattest.Unknown, nattest.NotTested)},
	} {
		if !slices.Contains(w.want, w.got) {
			return fmt.Errorf("%s.%s is %q, which no report has", name, w.what, nattest.Clean(w.got))
		}
	}
	if n := len(f.Trials); n > maxListed {
		return fmt.Errorf("%s has %d trials, which no report has", name, n)
	}
	if n := len(f.Mapped); n > maxListed {
		return fmt.Errorf("%s has %d public addresses, which no report has", name, n)
	}
	for _, b := range slices.Concat(f.Mapping.Possible, f.Filtering.Possible) {
		if !slices.Contains(behaviors, b) {
			return fmt.Errorf("%s has a possible behavior %q, which no report has", name, nattest.Clean(b))
		}
	}
	return nil
}
