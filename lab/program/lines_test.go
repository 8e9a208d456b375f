//go:build linux

package program

import (
	"slices"
	"testing"
	"time"
)

func TestLinesAreCutWhereTheyEnd(t *testing.T) {
	var l Lines
	for _, part := range []string{"one\ntw", "o\n\nthr", "ee"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write(%q): got %d, %v", part, n, err)
		}
	}
	if got, want := l.All(), []string{"one", "two", "", "three"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAwaitWaitsForTheRecord(t *testing.T) {
	var l Lines
	go func() {
		for _, line := range []string{"no JSON", `{"msg":"other","n":1}`, `{"msg":"ended","n":2,"user":"a"}`, `{"msg":"ended","n":3}`} {
			_, _ = l.Write([]byte(line + "\n"))
		}
	}()
	got := l.Await(t, "ended", 2, 5*time.Second)
	if len(got) != 2 || got[0].Number("n") != 2 || got[0].Text("user") != "a" || got[1].Number("n") != 3 {
		t.Errorf("got %v, want the two records with message ended", got)
	}
	if s := got[1].Text("user"); s != "" {
		t.Errorf("an attribute that is not there: got %q, want empty", s)
	}
}
