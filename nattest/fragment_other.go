//go:build !linux

package nattest

func dontFragment(link) {}
func mayFragment(link)  {}
