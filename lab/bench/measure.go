//go:build linux

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

// rate returns how many allocations are set up a second, and a second of the
// server's processor time.
func (s *server) rate(n int) ([]float64, error) {
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	took, err := s.setUp(n)
	if err != nil {
		return nil, err
	}
	after, err := s.cpu()
	return []float64{float64(n) / took.Seconds(), float64(n) / (after - before).Seconds()}, err
}

const (
	pace    = 10000 // packets a second
	relayed = 30000 // packets
	burst   = 64    // packets at most that catch up at once
)

var errLost = errors.New("packets lost")

// relay sends packets from a client to a peer at a fixed pace and returns how
// many the server relays for a second of processor time. If more than one in a
// hundred is lost, that is errLost.
func (s *server) relay(size int) ([]float64, error) {
	c, to, err := s.connect()
	if err != nil {
		return nil, err
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
		return nil, err
	}
	packet := data(size)
	for start, sent := time.Now(), 0; sent < relayed; {
		due := int(time.Since(start).Seconds() * pace)
		for due = min(due, relayed, sent+burst); sent < due; sent++ {
			if _, err := c.Write(packet); err != nil {
				return nil, err
			}
		}
		time.Sleep(time.Millisecond) // the pace
	}
	n := <-received
	after, err := s.cpu()
	if n < relayed*99/100 {
		return nil, fmt.Errorf("%d of %d %w", relayed-n, relayed, errLost)
	}
	return []float64{float64(n) / (after - before).Seconds()}, err
}

// delay returns what the relay adds to the time there and back to an echoing
// peer, at p50 and at p99, in microseconds. Every two milliseconds a packet goes
// through the relay, and one goes to the peer without it.
func (s *server) delay() ([]float64, error) {
	c, to, err := s.connect()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer to.Close()
	go echo(to)
	direct, err := net.DialUDP("udp4", nil, to.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return nil, err
	}
	defer direct.Close()
	packet := data(172)
	var relayed, straight []float64
	for range 1500 {
		for conn, times := range map[*net.UDPConn]*[]float64{c.UDPConn: &relayed, direct: &straight} {
			took, err := trip(conn, packet)
			if err != nil {
				return nil, err
			}
			*times = append(*times, float64(took.Nanoseconds())/1000)
		}
		time.Sleep(2 * time.Millisecond) // the pace
	}
	added := func(q float64) float64 { return quantile(relayed, q) - quantile(straight, q) }
	return []float64{added(0.50), added(0.99)}, nil
}

// trip sends a packet and waits for the one that comes back.
func trip(conn *net.UDPConn, packet []byte) (time.Duration, error) {
	var b [1600]byte
	start := time.Now()
	if _, err := conn.Write(packet); err != nil {
		return 0, err
	}
	_ = conn.SetReadDeadline(start.Add(time.Second))
	_, err := conn.Read(b[:])
	return time.Since(start), err
}

func quantile(times []float64, q float64) float64 {
	slices.Sort(times)
	return times[int(q*float64(len(times)-1))]
}

// echo returns what a peer gets, until it is closed.
func echo(peer *net.UDPConn) {
	for b := make([]byte, 2000); ; {
		n, from, err := peer.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		_, _ = peer.WriteToUDPAddrPort(b[:n], from)
	}
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
