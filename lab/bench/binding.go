//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pion/stun/v3"
)

// Clients that ask for their address at the same time, and how many requests
// each has under way: enough that the server never waits for them.
const (
	askers = 4
	window = 32
)

// binding has n Binding requests answered, and returns how many that is a
// second of time, and of processor time of the server.
func (s *server) binding(n int) ([]float64, error) {
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	failures := make(chan error, askers)
	start := time.Now()
	for range askers {
		wg.Go(func() { failures <- askAll(n / askers) })
	}
	wg.Wait()
	took := time.Since(start)
	close(failures)
	for err := range failures {
		if err != nil {
			return nil, err
		}
	}
	after, err := s.cpu()
	return []float64{float64(n) / took.Seconds(), float64(n) / (after - before).Seconds()}, err
}

// askAll sends n Binding requests from one port, the next as one is answered.
// No answer may be lost, but for what loopback itself drops: then the window is
// filled again.
func askAll(n int) error {
	conn, err := net.Dial("udp4", serverAddr)
	if err != nil {
		return err
	}
	defer conn.Close()
	request := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	answer, stalls := make([]byte, 2000), 0
	send := func(number int) error {
		binary.BigEndian.PutUint32(request[8:], uint32(number))
		_, err := conn.Write(request)
		return err
	}
	for sent, answered := 0, 0; answered < n; {
		for ; sent < n && sent-answered < window; sent++ {
			if err := send(sent); err != nil {
				return err
			}
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		size, err := conn.Read(answer)
		switch {
		case err != nil:
			if stalls++; stalls > 3 {
				return fmt.Errorf("%d of %d Binding requests answered: %w", answered, n, err)
			}
			sent = answered
		case size < 32 || binary.BigEndian.Uint16(answer) != uint16(stun.BindingSuccess.Value()):
			return errors.New("an answer is no success")
		default:
			answered++
		}
	}
	return nil
}
