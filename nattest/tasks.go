package nattest

import (
	"slices"
	"strings"
	"sync"
)

// tasks are parts of a test that run at the same time.
type tasks struct {
	sync.WaitGroup
	tell    func(string)
	mu      sync.Mutex
	running []string
	found   string
}

// do runs a part, which returns what it found in a few words, or "". Which
// parts still run is told whenever one begins or ends.
func (t *tasks) do(name string, part func() string) {
	t.change(func() { t.running = append(t.running, name) })
	t.Go(func() {
		found := part()
		t.change(func() {
			t.running = slices.DeleteFunc(t.running, func(s string) bool { return s == name })
			if found != "" {
				t.found = name + ": " + found + "; "
			}
		})
	})
}

func (t *tasks) change(what func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	what()
	now := t.found
	if len(t.running) > 0 {
		now += "testing " + strings.Join(t.running, ", ")
	}
	t.tell(strings.TrimSuffix(now, "; "))
}
