//go:build !unix

package main

// raise has nothing to do where the system has no such limit.
func raise(int) error { return nil }
