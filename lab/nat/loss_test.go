//go:build linux

package nat
