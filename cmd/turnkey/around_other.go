//go:build !linux

package main

import "turnkey/nattest/around"

// natSystemHere adds nothing: traces and the default route are read on
// Linux only.
func natSystemHere(*around.System) {}

// interfaceKinds knows none; names tell.
func interfaceKinds() map[string]string { return nil }
