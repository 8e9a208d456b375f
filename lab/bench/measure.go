package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// workers is how many clients set up allocations at the same time.
const workers = 8

// setUp makes n allocations and ends them again, and returns how long it took.
func (s *server) setUp(n int) (time.Duration, error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	failures := make(chan error, workers)
	start := time.Now()
	for range workers {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				c, err := dial(s)
				if err == nil {
					err = errors.Join(c.allocate(), c.release(), c.Close())
				}
				if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failures)
	return time.Since(start), <-failures
}

func (s *server) rate(n int) (float64, error) {
	took, err := s.setUp(n)
	return float64(n) / took.Seconds(), err
}

func (s *server) ratePerCPU(n int) (float64, error) {
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	if _, err := s.setUp(n); err != nil {
		return 0, err
	}
	after, err := s.cpu()
	return float64(n) / (after - before).Seconds(), err
}

// hold makes n allocations, keeps them, and returns what each costs the server
// in resident memory.
func (s *server) hold(n int) (float64, error) {
	before, err := s.resident()
	if err != nil {
		return 0, err
	}
	clients := make([]*client, 0, n)
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	for i := range n {
		c, err := dial(s)
		if err != nil {
			return 0, fmt.Errorf("client %d: %w", i, err)
		}
		clients = append(clients, c)
		if err := c.allocate(); err != nil {
			return 0, fmt.Errorf("allocation %d: %w", i, err)
		}
	}
	after, err := s.resident()
	return (after - before) / float64(n), err
}

const (
	pace    = 10000 // packets a second
	relayed = 30000 // packets
)

// relay sends packets from a client to a peer at a fixed pace and returns how
// many the server relays for a second of processor time. Nothing may be lost.
func (s *server) relay(size int) (float64, error) {
	c, to, err := s.connect()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer to.Close()
	_ = to.SetReadBuffer(4 << 20)
	received := make(chan int)
	go func() {
		n := 0
		for b := make([]byte, 2000); n < relayed; n++ {
			_ = to.SetReadDeadline(time.Now().Add(2 * time.Second))
			if _, err := to.Read(b); err != nil {
				break
			}
		}
		received <- n
	}()
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	packet := data(size)
	for start, sent := time.Now(), 0; sent < relayed; {
		for due := int(time.Since(start).Seconds() * pace); sent < min(due, relayed); sent++ {
			if _, err := c.Write(packet); err != nil {
				return 0, err
			}
		}
		time.Sleep(time.Millisecond) // the pace
	}
	n := <-received
	after, err := s.cpu()
	if n < relayed*99/100 {
		return 0, fmt.Errorf("%d of %d packets lost", relayed-n, relayed)
	}
	return float64(n) / (after - before).Seconds(), err
}

// delay returns a quantile of the time there and back to an echoing peer, in
// microseconds, with a packet every two milliseconds.
func (s *server) delay(quantile float64) (float64, error) {
	c, to, err := s.connect()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer to.Close()
	go func() {
		for b := make([]byte, 2000); ; {
			n, from, err := to.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = to.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	packet := data(172)
	times := make([]float64, 0, 1000)
	for range cap(times) {
		start := time.Now()
		if _, err := c.Write(packet); err != nil {
			return 0, err
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(c.buf[:]); err != nil {
			return 0, err
		}
		times = append(times, float64(time.Since(start).Microseconds()))
		time.Sleep(2 * time.Millisecond) // the pace
	}
	slices.Sort(times)
	return times[int(quantile*float64(len(times)-1))], nil
}

// connect returns a client with a channel to a peer.
func (s *server) connect() (*client, *net.UDPConn, error) {
	to, err := peer()
	if err != nil {
		return nil, nil, err
	}
	c, err := dial(s)
	if err != nil {
		return nil, nil, err
	}
	if err := c.allocate(); err != nil {
		return nil, nil, err
	}
	return c, to, c.bind(to.LocalAddr())
}
