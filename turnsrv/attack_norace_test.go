//go:build !race

package turnsrv

const detector = 1
