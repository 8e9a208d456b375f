package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
)

func TestSharedUDPPort(t *testing.T) {
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", ports[0])
	conns, err := listenUDP(at, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	if len(conns) != 4 {
		t.Errorf("got %d sockets, want 4", len(conns))
	}
	for _, n := range []int{1, 4} {
		if more, err := listenUDP(at, n); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%d more: got %d, %v, want an address in use", n, len(more), err)
		}
	}
	// What a client sends always reaches the same socket.
	got := make(chan int)
	for i, c := range conns {
		go func() {
			buf := make([]byte, 10)
			for {
				if _, _, err := c.ReadFrom(buf); err != nil {
					return
				}
				got <- i
			}
		}()
	}
	seen := map[int]bool{}
	for range 32 {
		c, err := net.Dial("udp4", at)
		if err != nil {
			t.Fatal(err)
		}
		first := -1
		for range 3 {
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			i := <-got
			if first >= 0 && i != first {
				t.Errorf("got socket %d after %d", i, first)
			}
			first = i
		}
		seen[first] = true
		c.Close()
	}
	if len(seen) < 2 {
		t.Errorf("got %d sockets in use, want the clients spread", len(seen))
	}
}
