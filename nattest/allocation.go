package nattest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// turnWait is how long a connection, a request or a relayed packet may take.
const turnWait = 2500 * time.Millisecond

// turnSendAt is when a request, or a packet to be relayed, is sent until there
// is an answer.
var turnSendAt = [...]time.Duration{
	0, 200 * time.Millisecond, 400 * time.Millisecond, 700 * time.Millisecond,
	1000 * time.Millisecond, 1400 * time.Millisecond, 1900 * time.Millisecond,
}

// fault is a stage that failed.
type fault struct {
	stage  string
	code   int            // STUN error code, 0 none
	at     netip.AddrPort // of the server, where it was connected to
	reason string
	err    error
}

func (f *fault) Error() string { return f.stage + ": " + f.reason }

// allocation is one TURN allocation of our own. One goroutine uses it.
type allocation struct {
	link
	dialog
	relayed netip.AddrPort // XOR-RELAYED-ADDRESS
	mapped  netip.AddrPort // XOR-MAPPED-ADDRESS: where the server sees us
	holds   bool           // there is something to release
}

// allocate goes through challenge and Allocate (RFC 8656 section 7). step is
// told of each stage that worked.
func (a *allocation) allocate(ctx context.Context, step func(stage string)) *fault {
	_, r, err := a.once(ctx, stun.MethodAllocate, requestedTransportUDP())
	switch {
	case err != nil:
		return &fault{stage: "challenge", reason: plain(err), err: err}
	case r.ok:
		a.holds = true
		return &fault{stage: "challenge", reason: "the server relays for anybody: it gave an allocation to a request without credentials"}
	case !r.challenge:
		return &fault{stage: "challenge", code: r.code, reason: "the server answers the first request with " + r.said() + ", not with a challenge"}
	}
	step("challenge")
	m, f := a.do(ctx, "allocate", stun.MethodAllocate, requestedTransportUDP())
	if f != nil {
		return f
	}
	a.holds = true
	var ok bool
	if a.relayed, ok = xorAddr(m, stun.AttrXORRelayedAddress); !ok {
		return &fault{stage: "allocate", reason: "the server names no relayed address"}
	}
	a.mapped, _ = xorAddr(m, stun.AttrXORMappedAddress)
	step("allocate")
	return nil
}

// permit asks for a permission (RFC 8656 section 9).
func (a *allocation) permit(ctx context.Context, p netip.AddrPort) *fault {
	_, f := a.do(ctx, "permission", stun.MethodCreatePermission, peer(p))
	return f
}

// release gives the allocation back, without insisting.
func (a *allocation) release(ctx context.Context) {
	if a.holds {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
		defer cancel()
		_, _ = a.do(ctx, "release", stun.MethodRefresh, lifetime(0)) // the server forgets it by itself, later
	}
	a.Close()
}

// do makes one authenticated request, again if the nonce had become stale.
func (a *allocation) do(ctx context.Context, stage string, method stun.Method, attrs ...stun.Setter) (*stun.Message, *fault) {
	for again := true; ; again = false {
		m, r, err := a.once(ctx, method, attrs...)
		switch {
		case err != nil:
			return nil, &fault{stage: stage, reason: plain(err), err: err}
		case r.ok:
			return m, nil
		case r.challenge && again:
			continue
		}
		return nil, &fault{stage: stage, code: r.code, reason: "the server answers " + r.said()}
	}
}

// once makes one transaction.
func (a *allocation) once(ctx context.Context, method stun.Method, attrs ...stun.Setter) (m *stun.Message, r reply, err error) {
	req, err := a.request(method, attrs...)
	if err != nil {
		return nil, reply{}, err
	}
	err = repeat(ctx, a, a, func(n int) ([]byte, error) {
		if n > 0 && !a.lossy() {
			return nil, nil
		}
		return req.Raw, nil
	}, func(raw []byte) (done bool) {
		m, r, done = a.answer(req, raw)
		return done
	})
	return m, r, err
}

// cross sends a packet from one allocation to the other, again until it
// arrives, and returns how long it took.
func cross(ctx context.Context, from, to *allocation) (time.Duration, error) {
	payload := newPayload()
	var sent [len(turnSendAt)]time.Time
	var took time.Duration
	err := repeat(ctx, from, to, func(n int) ([]byte, error) {
		payload[len(payload)-1] = byte(n)
		m, err := indication(to.relayed, payload)
		if err != nil {
			return nil, err
		}
		sent[n] = time.Now()
		return m.Raw, nil
	}, func(raw []byte) bool {
		n, ok := delivered(raw, payload)
		if ok = ok && int(n) < len(sent) && !sent[n].IsZero(); ok {
			took = time.Since(sent[n])
		}
		return ok
	})
	return took, err
}

// newPayload is 16 bytes that nobody else can know, the last one a number.
func newPayload() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return b
}

// repeat writes what next returns, at the times of turnSendAt, and reads until
// done accepts a message.
func repeat(ctx context.Context, out, in link, next func(n int) ([]byte, error), done func(raw []byte) bool) error {
	start, sends := time.Now(), 0
	end := start.Add(turnWait)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
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
		raw, err := in.read(wake)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if done(raw) {
				return nil
			}
		case !timedOut(err):
			return err
		}
		if !time.Now().Before(end) {
			return context.DeadlineExceeded
		}
	}
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

var errNoURL = errors.New("the server offers no TURN URL")
