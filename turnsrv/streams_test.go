package turnsrv

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v3"
)

// pipeListener hands out one end of in-memory pipes, and errors.
type pipeListener struct {
	accepts chan any // net.Conn or error
	done    chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{accepts: make(chan any), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case v := <-l.accepts:
		if err, ok := v.(error); ok {
			return nil, err
		}
		return v.(net.Conn), nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3478} }

// dial connects a client from the given port and returns its end.
func (l *pipeListener) dial(port int) net.Conn {
	near, far := net.Pipe()
	l.accepts <- pipeEnd{far, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: port}}
	return near
}

type pipeEnd struct {
	net.Conn
	remote net.Addr
}

func (p pipeEnd) RemoteAddr() net.Addr { return p.remote }

// withStreams runs f in a bubble with a streams view of a pipeListener.
func withStreams(t *testing.T, f func(t *testing.T, l *pipeListener, s *streams)) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := newStreams(Listener{l, "tcp"}, new(counters[netip.Prefix]), 64, slog.New(slog.DiscardHandler), func(netip.AddrPort) {})
		defer s.Close()
		f(t, l, s)
	})
}

// closedAfter returns how long the server keeps conn open from now.
func closedAfter(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the connection closed", err)
	}
	return time.Since(start)
}

var allocate = stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw

// The two frames made pion spin on one core for ever, and go on after the
// client had left: their lengths wrap around in 16 bits.
func TestFramingAttacksEndTheConnection(t *testing.T) {
	stunAttack := append([]byte{0x00, 0x01, 0xFF, 0xEC, 0x21, 0x12, 0xA4, 0x42}, make([]byte, 12)...)
	channelAttack := append([]byte{0x40, 0x00, 0xFF, 0xFC}, make([]byte, 5)...)
	for name, attack := range map[string][]byte{"STUN": stunAttack, "ChannelData": channelAttack} {
		for _, after := range []string{"at once", "after a valid message", "byte by byte"} {
			t.Run(name+" "+after, func(t *testing.T) {
				withStreams(t, func(t *testing.T, l *pipeListener, s *streams) {
					conn := l.dial(1000)
					switch after {
					case "at once":
						go conn.Write(attack)
					case "after a valid message":
						go conn.Write(append(bytes.Clone(allocate), attack...))
					default:
						go func() {
							for i := range attack {
								if _, err := conn.Write(attack[i : i+1]); err != nil {
									return
								}
							}
						}()
					}
					if d := closedAfter(t, conn); d != 0 {
						t.Errorf("closed after %v, want at once", d)
					}
				})
			})
		}
	}
}

func TestFramesComeOutWhole(t *testing.T) {
	withStreams(t, func(t *testing.T, l *pipeListener, s *streams) {
		frames := [][]byte{allocate}
		for _, n := range []int{0, 1, 2, 3, 4, 5, 1200, 1592} {
			frames = append(frames, append([]byte{0x40, 0, byte(n >> 8), byte(n)}, make([]byte, (n+3)&^3)...))
		}
		conn := l.dial(1000)
		defer conn.Close()
		buf := make([]byte, 1600)
		for _, chunk := range []int{1, 7, 5000} {
			go func() {
				for b := bytes.Join(frames, nil); len(b) > 0; {
					n := min(chunk, len(b))
					if _, err := conn.Write(b[:n]); err != nil {
						return
					}
					b = b[n:]
				}
			}()
			for i, want := range frames {
				n, from, err := s.ReadFrom(buf) // also the smallest ones, with nothing after them
				if err != nil || !bytes.Equal(buf[:n], want) || from.String() != "203.0.113.7:1000" {
					t.Fatalf("chunks of %d, frame %d: got %d bytes from %v, %v, want %d", chunk, i, n, from, err, len(want))
				}
			}
		}
	})
}

func TestDeadlines(t *testing.T) {
	for _, tt := range []struct {
		name string
		send []byte
		want time.Duration
	}{
		{"says nothing", nil, firstFrameTimeout},
		{"half a header", allocate[:10], firstFrameTimeout},
		{"one message, then nothing", allocate, idleTimeout},
		{"one message and a half", append(bytes.Clone(allocate), allocate[:10]...), idleTimeout},
		{"ChannelData first", []byte{0x40, 0, 0, 0}, 0},
		{"no cookie", make([]byte, 20), 0},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withStreams(t, func(t *testing.T, l *pipeListener, s *streams) {
				conn := l.dial(1000)
				go conn.Write(tt.send)
				if d := closedAfter(t, conn); d != tt.want {
					t.Errorf("closed after %v, want %v", d, tt.want)
				}
			})
		})
	}
}

// A drip of bytes does not put the deadline off.
func TestSlowLoris(t *testing.T) {
	withStreams(t, func(t *testing.T, l *pipeListener, s *streams) {
		conn := l.dial(1000)
		var drip sync.WaitGroup
		defer drip.Wait()
		drip.Go(func() {
			for i := range allocate {
				time.Sleep(time.Second)
				if _, err := conn.Write(allocate[i : i+1]); err != nil {
					return
				}
			}
		})
		if d := closedAfter(t, conn); d != firstFrameTimeout {
			t.Errorf("closed after %v, want %v", d, firstFrameTimeout)
		}
	})
}

func TestAllocationLiftsTheIdleDeadline(t *testing.T) {
	withStreams(t, func(t *testing.T, l *pipeListener, s *streams) {
		conn := l.dial(1000)
		go conn.Write(allocate)
		if _, _, err := s.ReadFrom(make([]byte, 1600)); err != nil {
			t.Fatal(err)
		}
		client := netip.MustParseAddrPort("203.0.113.7:1000")
		if !s.hold(client, true) {
			t.Fatal("the connection is not there")
		}
		for range 2 {
			time.Sleep(time.Hour)
			go conn.Write(allocate)
			if _, _, err := s.ReadFrom(make([]byte, 1600)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		s.hold(client, false)
		if d := closedAfter(t, conn); d != idleTimeout {
			t.Errorf("closed %v after its allocation, want %v", d, idleTimeout)
		}
		synctest.Wait()
		if s.hold(client, true) {
			t.Error("a closed connection is still there")
		}
	})
}

// As when descriptors run out: the listener must go on.
func TestFailedAcceptIsTriedAgain(t *testing.T) {
	withStreams(t, func(t *testing.T, l *pipeListener, s *streams) {
		for range 20 {
			l.accepts <- &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
		}
		conn := l.dial(1000)
		defer conn.Close()
		go conn.Write(allocate)
		if _, _, err := s.ReadFrom(make([]byte, 1600)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestConnectionsPerClientAreBounded(t *testing.T) {
	withStreams(t, func(t *testing.T, l *pipeListener, s *streams) {
		conns := make([]net.Conn, 64)
		for i := range conns {
			conns[i] = l.dial(1000 + i)
		}
		if d := closedAfter(t, l.dial(9999)); d != 0 {
			t.Errorf("one too many was closed after %v, want at once", d)
		}
		conns[0].Close()
		synctest.Wait()
		conn := l.dial(9999)
		go conn.Write(allocate)
		if _, _, err := s.ReadFrom(make([]byte, 1600)); err != nil {
			t.Error(err)
		}
	})
}

// A client that does not read loses frames and, in time, its connection; nobody
// waits for it.
func TestSlowReader(t *testing.T) {
	withStreams(t, func(t *testing.T, l *pipeListener, s *streams) {
		slow, fast := l.dial(1000), l.dial(1001)
		defer slow.Close()
		defer fast.Close()
		synctest.Wait()
		start := time.Now()
		for range 10 * streamQueue {
			if _, err := s.WriteTo(allocate, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 1000}); err != nil {
				t.Fatal(err)
			}
		}
		go s.WriteTo(allocate, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 1001})
		if _, err := io.ReadFull(fast, make([]byte, len(allocate))); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("others waited %v for a slow reader", d)
		}
		time.Sleep(writeTimeout)
		synctest.Wait()
		if s.conn(netip.MustParseAddrPort("203.0.113.7:1000")) != nil {
			t.Errorf("a client that does not read keeps its connection for more than %v", writeTimeout)
		}
	})
}
