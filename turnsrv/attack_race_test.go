//go:build race

package turnsrv

// detector is how much slower everything may be under the race detector.
const detector = 8
