//go:build linux

package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do runs f on h: sockets that f opens belong to h for as long as they live,
// and may be used by any goroutine afterwards. Goroutines that f starts do
// not run on h, so names are not resolved there: use addresses. f must not
// end the test.
func (h *Host) Do(f func() error) error {
	if h == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() { done <- h.do(f) }()
	return <-done
}

// do needs a goroutine of its own: where the thread cannot be brought home
// it stays locked and ends with the goroutine.
func (h *Host) do(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("open the network namespace of this thread: %w", err)
	}
	defer home.Close()
	away, err := os.Open("/run/netns/" + h.ns)
	if err != nil {
		return fmt.Errorf("open a network namespace: %w", err)
	}
	defer away.Close()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", h.ns, err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return fmt.Errorf("leave network namespace %s: %w", h.ns, back)
	}
	runtime.UnlockOSThread()
	return err
}

// Dial connects from h, for instance as [net/http.Transport.DialContext].
func (h *Host) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.Do(func() error {
		var dialer net.Dialer
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
