package configs

import (
	"fmt"
	"strings"
)

// Fault is one setting that cannot be used.
type Fault struct {
	Name    string `json:"name"`            // the variable, with its prefix
	Value   string `json:"value,omitempty"` // as it was set; empty for secrets and unknown variables
	Problem string `json:"problem"`         // what is wrong with it
	Fix     string `json:"fix"`             // what to do about it
}

// Error is the fault in one line, long values shortened.
func (f Fault) Error() string {
	name := f.Name
	if f.Value != "" {
		name += fmt.Sprintf("=%.80q", f.Value)
	}
	return name + ": " + f.Problem + "; " + f.Fix
}

// Faults is every fault of an environment, in the order of the settings, unknown variables last.
type Faults []Fault

// Error has one line for each fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// problem is why a value is refused, before it is known which setting held it.
type problem struct{ what, fix string }

func (p *problem) Error() string { return p.what + "; " + p.fix }
