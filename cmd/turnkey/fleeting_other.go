//go:build !linux

package main

import "net/netip"

// fleeting returns none: other systems are not asked.
func fleeting() []netip.Addr { return nil }
