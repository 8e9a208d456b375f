//go:build !unix

package main

// fileLimit is not known here.
func fileLimit() (limit uint64, known bool) { return 0, false }
