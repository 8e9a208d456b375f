package nattest

import (
	"context"
	"errors"
	"testing"
)

func TestSilenceOfTURNIsNoProofWherePacketsGetLost(t *testing.T) {
	silent := URLReport{State: "failed", fault: &fault{stage: "allocate", err: context.DeadlineExceeded}}
	refused := URLReport{State: "failed", fault: &fault{stage: "allocate", code: 401, err: errors.New("401")}}
	for _, tt := range []struct {
		name string
		urls []URLReport
		loss float64
		want string
	}{
		{"no loss", []URLReport{silent}, 0, "failed"},
		{"little loss", []URLReport{silent}, 0.2, "failed"},
		{"heavy loss", []URLReport{silent, silent}, 0.5, NotTested},
		{"heavy loss, and one that was cut short", []URLReport{silent, {State: NotTested}}, 0.5, NotTested},
		{"heavy loss, and a refusal", []URLReport{silent, refused}, 0.5, "failed"},
		{"one that works", []URLReport{silent, {State: "ok"}}, 0.5, "ok"},
	} {
		r := relay(facts{base: "http://x", urls: make([]turnURL, 1)}, tt.urls)
		if r.doubt(tt.loss); r.State != tt.want || (r.State == NotTested) != (r.Why != "") {
			t.Errorf("%s: got %s (%s), want %s", tt.name, r.State, r.Why, tt.want)
		}
	}
}
