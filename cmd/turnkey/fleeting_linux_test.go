package main

import (
	"slices"
	"testing"
)

func TestFleeting(t *testing.T) {
	table := "20010db8000000000000000000000001 02 40 00 80     eth0\n" +
		"20010db8000000000000000000000002 02 40 00 01     eth0\n" +
		"20010db8000000000000000000000003 02 40 00 20     eth0\n" +
		"00000000000000000000000000000001 01 80 10 80       lo\nbroken\nzz 02 40 00 01 eth0\n"
	if got, want := fleeting6(table), addrs("2001:db8::2", "2001:db8::3"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
