//go:build unix

package main

import "golang.org/x/sys/unix"

// fileLimit returns how many files and sockets this process may have open. The
// Go runtime has raised the soft limit to the hard one at the start.
func fileLimit() (limit uint64, known bool) {
	var l unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return uint64(l.Cur), err == nil
}
