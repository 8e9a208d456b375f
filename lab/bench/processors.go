//go:build linux

package main

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// processors returns the one that the load has to itself, and the one of the
// server.
func processors() (load, server int, _ error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, 0, fmt.Errorf("ask which processors there are: %w", err)
	}
	if set.Count() < 2 {
		return 0, 0, fmt.Errorf("there is %d processor: server and load need one each", set.Count())
	}
	for load = 0; !set.IsSet(load); load++ {
	}
	for server = load + 1; !set.IsSet(server); server++ {
	}
	return load, server, nil
}

// on runs f on a thread of its own on one processor. Programs that f starts stay
// there too.
func on(processor int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
		var set unix.CPUSet
		set.Set(processor)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			done <- fmt.Errorf("stay on processor %d: %w", processor, err)
			return
		}
		done <- f()
	}()
	return <-done
}
