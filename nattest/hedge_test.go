package nattest

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestHedgedDial(t *testing.T) {
	slow := func(d time.Duration) func(context.Context) error {
		return func(ctx context.Context) error {
			select {
			case <-time.After(d):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	refused := errors.New("refused")
	for _, tt := range []struct {
		name    string
		network string
		tries   []func(context.Context) error
		took    time.Duration
		err     error
	}{
		{"at once", "tcp", []func(context.Context) error{slow(time.Millisecond)}, time.Millisecond, nil},
		{"the first packet is lost", "tcp", []func(context.Context) error{slow(time.Second), slow(time.Millisecond)}, dialAt[1] + time.Millisecond, nil},
		{"two are lost", "tcp6", []func(context.Context) error{slow(3 * time.Second), slow(3 * time.Second), slow(time.Millisecond)}, dialAt[2] + time.Millisecond, nil},
		{"all are late", "tcp", []func(context.Context) error{slow(3 * time.Second), slow(time.Second), slow(time.Second)}, dialAt[1] + time.Second, nil},
		{"refused", "tcp", []func(context.Context) error{func(context.Context) error { return refused }}, 0, refused},
		{"UDP is not tried again", "udp4", []func(context.Context) error{slow(time.Second)}, time.Second, nil},
		{"nobody", "tcp", []func(context.Context) error{slow(time.Hour), slow(time.Hour), slow(time.Hour)}, 4 * time.Second, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				var mu sync.Mutex
				n, open := 0, 0
				count := func(by int) { mu.Lock(); defer mu.Unlock(); open += by }
				dial := hedged(func(ctx context.Context, _, _ string) (net.Conn, error) {
					mu.Lock()
					try := tt.tries[n]
					n++
					mu.Unlock()
					if err := try(ctx); err != nil {
						return nil, err
					}
					count(1)
					near, _ := net.Pipe()
					return closing{near, func() { count(-1) }}, nil
				})
				start := time.Now()
				conn, err := dial(ctx, tt.network, "x")
				mu.Lock()
				tries := n
				mu.Unlock()
				if !errors.Is(err, tt.err) || time.Since(start) != tt.took || tries != len(tt.tries) {
					t.Errorf("got %v after %s and %d tries, want %v after %s and %d", err, time.Since(start), tries, tt.err, tt.took, len(tt.tries))
				}
				if conn != nil {
					conn.Close()
				}
				time.Sleep(time.Minute) // of the bubble
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if open != 0 {
					t.Errorf("%d connections are left open", open)
				}
			})
		})
	}
}

type closing struct {
	net.Conn
	closed func()
}

func (c closing) Close() error { c.closed(); return c.Conn.Close() }
