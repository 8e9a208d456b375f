//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// load is all the peers of a measurement on one thread, with messages rendered
// before, so that it takes less of a processor than the servers do. It answers
// pings whenever it waits.
type load struct {
	epoll  int
	events [256]unix.EpollEvent
	buf    [64 << 10]byte

	mu     sync.Mutex // of ends, while more come
	ends   []*end     // nil = has not joined
	number int        // of the next candidate at a pace
}

// end is a peer's end of its socket. The other peer of its room has the number
// that differs in the last bit.
type end struct {
	fd     int
	part   []byte // of a frame that has not come as a whole
	frame  []byte // with a candidate for the other peer
	body   int    // where the message begins in frame
	number int    // where the digits begin that tell one candidate from another
}

// line is a candidate as browsers have it. The zeros of its foundation are its
// number.
const (
	line   = "candidate:1000000000 1 udp 2122260223 192.168.178.24 50000 typ host generation 0 ufrag x7Gh network-id 1 network-cost 10"
	before = "candidate:1"
	digits = 9
)

// received is called with what a peer receives: the candidate with number n.
type received func(peer, n int) error

func ignore(int, int) error { return nil }

func newLoad(n int) (*load, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll instance: %w", err)
	}
	return &load{epoll: epoll, ends: make([]*end, n), number: 1}, nil
}

func (l *load) close() {
	for _, e := range l.ends {
		if e != nil {
			_ = unix.Close(e.fd)
		}
	}
	_ = unix.Close(l.epoll)
}

// add takes the socket of peer i over, which sends message.
func (l *load) add(i int, w *socket, message []byte) error {
	fd, err := w.detach()
	if err != nil {
		return fmt.Errorf("take over the socket of peer %d: %w", i, err)
	}
	e := &end{fd: fd, number: bytes.Index(message, []byte(before)) + len(before)}
	e.frame, e.body = masked(message)
	e.number += e.body
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[i] = e
	if err := l.take(i, w.in, ignore); err != nil {
		return err
	}
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)})
}

// send has peer i send the candidate with number n.
func (l *load) send(i, n int) error {
	e := l.ends[i]
	for at := e.number + digits - 1; at >= e.number; at, n = at-1, n/10 {
		e.frame[at] = byte('0'+n%10) ^ mask[(at-e.body)%4]
	}
	return l.write(i, e.frame)
}

func (l *load) write(i int, b []byte) error {
	if n, err := unix.Write(l.ends[i].fd, b); err != nil || n < len(b) {
		return fmt.Errorf("peer %d wrote %d of %d bytes: %w", i, max(n, 0), len(b), errors.Join(err, io.ErrShortWrite))
	}
	return nil
}

// turn waits for something to read, for some milliseconds at most, and reads it.
func (l *load) turn(wait int, got received) error {
	n, err := unix.EpollWait(l.epoll, l.events[:], wait)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for messages: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, event := range l.events[:max(n, 0)] {
		if err := l.read(int(event.Fd), got); err != nil {
			return fmt.Errorf("peer %d: %w", event.Fd, err)
		}
	}
	return nil
}

func (l *load) read(i int, got received) error {
	e := l.ends[i]
	had := copy(l.buf[:], e.part)
	n, err := unix.Read(e.fd, l.buf[had:])
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return err
	}
	return l.take(i, l.buf[:had+n], got)
}

// take handles the frames in b, and keeps the rest.
func (l *load) take(i int, b []byte, got received) error {
	for {
		op, body, rest, err := frame(b)
		if err != nil {
			return err
		}
		if rest == nil {
			l.ends[i].part = append(l.ends[i].part[:0], b...)
			return nil
		}
		b = rest
		if n, ok := numberOf(body); ok {
			err = got(i, n)
		} else if op == ws.OpPing {
			pong, _ := masked(body)
			pong[0] = 0x80 | byte(ws.OpPong)
			err = l.write(i, pong)
		}
		if err != nil {
			return err
		}
	}
}

// numberOf finds the number of the candidate in a message.
func numberOf(message []byte) (n int, ok bool) {
	at := bytes.Index(message, []byte(before)) + len(before)
	if at < len(before) || len(message) < at+digits {
		return 0, false
	}
	for _, c := range message[at : at+digits] {
		n = 10*n + int(c-'0')
	}
	return n, true
}

// patience is how long a message may be on its way before it is lost.
const patience = 10 * time.Second

// flood has every peer send each messages, with ahead under way: each that comes
// lets one go back. It returns how many did not come.
func (l *load) flood(each, ahead int) (lost int, _ error) {
	sent, missing := make([]int, len(l.ends)), len(l.ends)*each
	next := func(i int) error {
		if sent[i] == each {
			return nil
		}
		sent[i]++
		return l.send(i, 0)
	}
	for i := range l.ends {
		for range ahead {
			if err := next(i); err != nil {
				return 0, err
			}
		}
	}
	last := time.Now()
	for missing > 0 && time.Since(last) < patience {
		had := missing
		if err := l.turn(100, func(i, _ int) error { missing--; return next(i) }); err != nil {
			return 0, err
		}
		if missing < had {
			last = time.Now()
		}
	}
	return missing, nil
}

// paced is how messages at a pace fared, in milliseconds.
type paced struct {
	took []float64 // from the write to the read
	late []float64 // from when it was due to the write
	lost int
}

// inTime returns quantile q of the times, or no number if the load was late: by
// more than a millisecond at p99, and by more than a tenth of the time at p99.
func (p paced) inTime(q float64) float64 {
	if quantile(p.late, 0.99) > max(1, quantile(p.took, 0.99)/10) {
		return math.NaN()
	}
	return quantile(p.took, q)
}

// pace has the peers send so many messages a second, one after the other, for a
// time. It waits without rest, for a timer would be late.
func (l *load) pace(rate float64, during time.Duration) (p paced, _ error) {
	due := func(n int) time.Duration { return time.Duration(float64(n) / rate * float64(time.Second)) }
	total := int(rate * during.Seconds())
	sent := make([]time.Duration, total)
	p.took, p.late = make([]float64, 0, total), make([]float64, 0, total)
	start := time.Now()
	first := l.number
	l.number += total
	got := func(_, n int) error {
		if n -= first; n >= 0 { // not of an earlier time
			p.took = append(p.took, milliseconds(time.Since(start)-sent[n]))
		}
		return nil
	}
	for n := 0; len(p.took) < total && time.Since(start) < during+patience; {
		for burst := 0; burst < 64 && n < total; burst++ {
			now := time.Since(start)
			if now < due(n) {
				break
			}
			sent[n] = now
			p.late = append(p.late, milliseconds(now-due(n)))
			if err := l.send(n%len(l.ends), first+n); err != nil {
				return p, err
			}
			n++
		}
		if err := l.turn(0, got); err != nil {
			return p, err
		}
	}
	p.lost = total - len(p.took)
	return p, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
