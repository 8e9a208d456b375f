package turnsrv

import (
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// reset dials the server, and closes with a reset, which leaves no port waiting.
func reset(t *testing.T, at string) *net.TCPConn {
	c, err := net.Dial("tcp4", at)
	if err != nil {
		t.Error(err)
		return nil
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	return c.(*net.TCPConn)
}

// many runs f on n goroutines.
func many(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// stays tells whether the server keeps c open and silent for a moment.
func stays(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second)) // half of what a silent one is given
	_, err := c.Read(make([]byte, 1))
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

func TestStreamAttacks(t *testing.T) {
	f, at := secure(t, "tls")
	overflows := [][]byte{
		append([]byte{0x00, 0x01, 0xFF, 0xEC, 0x21, 0x12, 0xA4, 0x42}, make([]byte, 12)...),
		append([]byte{0x40, 0x00, 0xFF, 0xFC}, make([]byte, 5)...),
	}
	for name, attack := range map[string]func(t *testing.T){
		"lengths that overflow 16 bits": func(t *testing.T) {
			many(60, func(i int) {
				c := reset(t, f.tcp)
				defer c.Close()
				_, _ = c.Write(allocate)
				_, _ = io.ReadFull(c, make([]byte, 20))
				_, _ = c.Write(overflows[i%2])
				_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
				if _, err := io.Copy(io.Discard, c); err != nil && isTimeout(err) {
					t.Errorf("frame %x: the connection stays", overflows[i%2])
				}
			})
		},
		"slow requests over TCP": func(t *testing.T) {
			many(60, func(int) {
				c := reset(t, f.tcp)
				defer c.Close()
				drip(c, allocate[:len(allocate)-1], 50*time.Millisecond)
			})
		},
		"slow requests over TLS": func(t *testing.T) {
			many(60, func(int) {
				raw := reset(t, at.String())
				defer raw.Close()
				c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
				if err := c.Handshake(); err != nil {
					t.Error(err)
				}
				drip(c, allocate[:len(allocate)-1], 50*time.Millisecond)
			})
		},
		"slow handshakes": func(t *testing.T) {
			many(60, func(int) {
				c := reset(t, at.String())
				defer c.Close()
				drip(c, []byte{22, 3, 1, 0x02, 0, 1, 0, 0x01, 0xFC, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 50*time.Millisecond)
			})
		},
		"connections that say nothing": func(t *testing.T) {
			many(60, func(int) {
				c := reset(t, f.tcp)
				defer c.Close()
				_ = c.SetReadDeadline(time.Now().Add(time.Second))
				_, _ = c.Read(make([]byte, 1))
			})
		},
		"10 000 connections from one address": func(t *testing.T) {
			var open []net.Conn
			for start := time.Now(); f.Stats().Connections < 64 && time.Since(start) < 5*time.Second; {
				open = append(open, reset(t, f.tcp)) // some are refused while those of other tests go
			}
			many(20, func(int) {
				for range 500 {
					if c := reset(t, f.tcp); c != nil {
						c.Close()
					}
				}
			})
			if n := f.Stats().Connections; n > 64 {
				t.Errorf("got %d connections, want 64 at most", n)
			}
			if c := reset(t, f.tcp); stays(c) {
				t.Error("one more connection is let in")
			} else {
				c.Close()
			}
			for _, c := range open {
				c.Close()
			}
		},
		"garbage": func(t *testing.T) {
			many(10, func(i int) {
				for range 50 {
					to := f.tcp
					if i%2 == 1 {
						to = at.String()
					}
					c := reset(t, to)
					b := make([]byte, 500)
					_, _ = rand.Read(b)
					_, _ = c.Write(b)
					_ = c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
					_, _ = c.Read(b)
					c.Close()
				}
			})
		},
		"closing in the middle": func(t *testing.T) {
			many(10, func(i int) {
				w := &wire{t: t, realm: DefaultRealm}
				w.username, w.password = f.credential(t, time.Hour)
				for n := range 50 {
					c := reset(t, f.tcp)
					w.Conn = c
					w.challenge()
					m := w.build(stun.NewType(stun.MethodAllocate, stun.ClassRequest),
						append(append([]stun.Setter{udpTransport}, w.credentials()...), w.key())...)
					end := len(m.Raw)
					if n%2 == 0 {
						end = 1 + (n*31+i)%(end-1)
					}
					w.send(m.Raw[:end])
					c.Close()
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) { f.attacked(t, func() { attack(t) }) })
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// drip writes b one byte at a time, until the server has had enough of it.
func drip(c net.Conn, b []byte, pause time.Duration) {
	for i := range b {
		if _, err := c.Write(b[i : i+1]); err != nil {
			return
		}
		time.Sleep(pause) // the attack is slowness itself
	}
}

// A client whose every byte comes alone is slow and not bad: it is served.
func TestOneByteAtATimeIsServed(t *testing.T) {
	f, at := secure(t, "tls")
	for name, dial := range map[string]func() (net.Conn, error){
		"tcp": func() (net.Conn, error) { return net.Dial("tcp4", f.tcp) },
		"tls": func() (net.Conn, error) {
			return tls.Dial("tcp4", at.String(), &tls.Config{InsecureSkipVerify: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			w := &wire{Conn: byByte{c}, t: t, realm: DefaultRealm}
			w.username, w.password = f.credential(t, time.Hour)
			w.challenge().allocate()
			if got := code(w.call(stun.MethodRefresh, lifetime(0))); got != 0 {
				t.Errorf("got %d, want success", got)
			}
		})
	}
}

type byByte struct{ net.Conn }

func (c byByte) Write(b []byte) (n int, err error) {
	for i := range b {
		if _, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}
