package nattest

import (
	"fmt"
	"math"
	"time"
)

// Lifetime is how long an idle mapping lives (RFC 4787 section 4.3). Many NATs
// have two timers: a longer one for flows that went both ways for a while.
type Lifetime struct {
	State   string  `json:"state"` // measured, unknown or not_tested
	Why     string  `json:"why,omitempty"`
	OneShot Timer   `json:"one_shot,omitzero"` // after a request and its answer
	Stream  Timer   `json:"stream,omitzero"`   // after requests and answers over more than two seconds
	Limit   float64 `json:"limit_s,omitempty"` // the longest idle time that was tried
}

// Timer is what was found of one timer, in seconds of idle time.
type Timer struct {
	Alive    float64 `json:"alive_s"`          // the longest after which a packet still came in
	Dead     float64 `json:"dead_s,omitempty"` // the shortest, longer than that, after which none did; 0: none was that short
	Unsteady bool    `json:"unsteady"`         // some mappings were gone sooner than others
}

// short is the idle time that a mapping has to outlive: what may pass between
// the gathering of candidates and an answer from somebody who has to be asked.
const short = 30 // seconds

// caveats is what the timers say against a good verdict.
func (l Lifetime) caveats() []string {
	if l.State != "measured" || l.OneShot.Dead == 0 || l.OneShot.Dead >= short {
		return nil
	}
	return []string{fmt.Sprintf("the NAT forgets an idle mapping after %s (RFC 4787 asks for two minutes): who takes longer to answer a call finds the way closed", l.OneShot)}
}

// String says between which idle times a mapping ends, in seconds.
func (t Timer) String() string {
	var s string
	switch {
	case t.Dead == 0:
		s = fmt.Sprintf("%g s at least", t.Alive)
	case t.Alive == 0:
		s = fmt.Sprintf("less than %g s", t.Dead)
	default:
		s = fmt.Sprintf("%g to %g s", t.Alive, t.Dead)
	}
	if t.Unsteady {
		s += " (some less)"
	}
	return s
}

// conclude reads the timers from the rungs.
func (t *lifetimeTest) conclude() Lifetime {
	first := t.rungs[0]
	switch {
	case t.refused != 0:
		return Lifetime{State: NotTested, Why: fmt.Sprintf("the server does not answer to another port on request (RESPONSE-PORT: error %d)", t.refused)}
	case first.state != alive:
		return Lifetime{State: Unknown, Why: "an answer to another port of this machine did not arrive even at once"}
	}
	l := Lifetime{State: "measured", OneShot: t.timer(false), Stream: t.timer(true)}
	for _, r := range t.rungs {
		if r.state != primed && r.state != looked {
			l.Limit = max(l.Limit, r.after.Seconds())
		}
	}
	if l.OneShot.Alive == 0 && l.OneShot.Dead == 0 || l.Stream.Alive == 0 && l.Stream.Dead == 0 {
		l.State, l.Why = Unknown, "too many answers were lost"
	}
	return l
}

func (t *lifetimeTest) timer(stream bool) (out Timer) {
	seconds := func(d time.Duration) float64 { return math.Round(d.Seconds()*10) / 10 }
	for _, r := range t.rungs[1:] {
		if r.stream == stream && r.state == alive {
			out.Alive = max(out.Alive, seconds(r.after))
		}
	}
	for _, r := range t.rungs[1:] {
		if r.stream != stream || r.state != dead {
			continue
		}
		if gone := seconds(r.gone); gone < out.Alive {
			out.Unsteady = true
		} else if out.Dead == 0 || gone < out.Dead {
			out.Dead = gone
		}
	}
	return out
}
