//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// raise lets this process and those that it starts open n descriptors.
func raise(n int) error {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	if err == nil && limit.Cur < uint64(n) {
		limit.Cur, limit.Max = uint64(n), max(limit.Max, uint64(n))
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	if err != nil {
		return fmt.Errorf("open %d descriptors (ulimit -n, or hold fewer with -held): %w", n, err)
	}
	return nil
}
