package nattest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// turnWait is how long a connection, a request or a relayed packet may take.
const turnWait = 2500 * time.Millisecond

// turnSendAt is when a request, or a packet to be relayed, is sent until there
// is an answer.
var turnSendAt = [...]time.Duration{
	0, 100 * time.Millisecond, 250 * time.Millisecond, 450 * time.Millisecond, 700 * time.Millisecond,
	1000 * time.Millisecond, 1300 * time.Millisecond, 1650 * time.Millisecond, 2000 * time.Millisecond,
}

// errLate is silence that was cut short by the end of the whole test: it says
// nothing about the other side.
var errLate = errors.New("the time for the whole test was over")

// repeat writes what next returns, at the times of turnSendAt, and reads until
// done accepts a message.
func repeat(ctx context.Context, out, in link, next func(n int) ([]byte, error), done func(raw []byte) bool) error {
	start, sends := time.Now(), 0
	end, late := start.Add(turnWait), false
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end, late = d, true
	}
	for {
		wake := end
		if sends < len(turnSendAt) {
			if due := start.Add(turnSendAt[sends]); !time.Now().Before(due) {
				raw, err := next(sends)
				if err == nil && raw != nil {
					err = out.write(raw)
				}
				if err != nil {
					return fmt.Errorf("sending: %w", err)
				}
				sends++
				continue
			} else if due.Before(wake) {
				wake = due
			}
		}
		// Short, so that a canceled context is noticed.
		raw, err := in.read(earlier(wake, time.Now().Add(100*time.Millisecond)))
		switch {
		case err == nil:
			if done(raw) {
				return nil
			}
		case !timedOut(err):
			return err
		}
		switch over := !time.Now().Before(end); {
		case over && late, errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(context.Cause(ctx), errLate):
			return errLate
		case ctx.Err() != nil:
			return ctx.Err()
		case over:
			return context.DeadlineExceeded
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// twice runs f for both ends at the same time and returns the first's fault
// before the second's.
func twice(f func(i int) *fault) *fault {
	second := make(chan *fault, 1)
	go func() { second <- f(1) }()
	first := f(0)
	other := <-second
	if first != nil {
		return first
	}
	return other
}
