//go:build linux

package attack

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"golang.org/x/sys/unix"
)

// forge returns a function that sends a UDP datagram to the server in the name
// of any address.
func (w world) forge(t *testing.T) func(source [4]byte, from, to uint16, payload []byte) {
	t.Helper()
	var fd int
	if err := w.attacker.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	server := unix.SockaddrInet4{Addr: [4]byte(net.ParseIP(serverIP).To4())}
	return func(source [4]byte, from, to uint16, payload []byte) {
		b := make([]byte, headers, headers+len(payload)) // the kernel fills in length, id and checksum
		b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
		copy(b[12:], source[:])
		copy(b[16:], server.Addr[:])
		binary.BigEndian.PutUint16(b[20:], from)
		binary.BigEndian.PutUint16(b[22:], to)
		binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload)))
		_ = unix.Sendto(fd, append(b, payload...), 0, &server) // a full queue is the attacker's
	}
}

// paced calls f n times, perSecond times a second.
func paced(n, perSecond int, f func(i int)) {
	begin := time.Now()
	for i := range n {
		f(i)
		if i%20 == 19 {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
		}
	}
}

// TestForgedFloods sends in the names of ever new addresses, and in that of the
// bystander himself, as fast as a small machine can.
func TestForgedFloods(t *testing.T) {
	const perSecond, seconds = 10000, 2
	const handshakes = 500 // a second: each is remembered until its client shows that it is there
	binding, allocate, hello := request(stun.MethodBinding), request(stun.MethodAllocate), clientHello()
	for name, flood := range map[string]struct {
		port      uint16
		payload   []byte
		source    func() [4]byte
		perSecond int
	}{
		"Binding":                     {3478, binding, anybody, perSecond},
		"Binding on the other port":   {3479, binding, anybody, perSecond},
		"Allocate":                    {3478, allocate, anybody, perSecond},
		"Allocate as the bystander":   {3478, allocate, func() [4]byte { return [4]byte{203, 0, 113, 20} }, perSecond},
		"DTLS handshakes":             {5349, hello, anybody, handshakes},
		"data for relays, unasked":    {49160, binding, anybody, perSecond},
		"data for channels, unasked":  {3478, []byte{0x40, 0, 0, 4, 1, 2, 3, 4}, anybody, perSecond},
		"garbage on the port of DTLS": {5349, make([]byte, 300), anybody, perSecond},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			send := w.forge(t)
			before := w.metric(t, "process_resident_memory_bytes")
			w.attacked(t, func() {
				paced(flood.perSecond*seconds, flood.perSecond, func(i int) {
					send(flood.source(), uint16(1024+i), flood.port, flood.payload)
				})
			})
			grown := w.metric(t, "process_resident_memory_bytes") - before
			t.Logf("memory grew by %.1f MB", grown/(1<<20))
			if grown > 256<<20 {
				t.Errorf("memory grew by %.0f bytes, want 256 MB at most", grown)
			}
		})
	}
}

func anybody() [4]byte {
	return [4]byte{100, 64 + byte(rand.N(64)), byte(rand.N(256)), byte(rand.N(256))}
}

var (
	tcpPorts = []string{"3478", "5349", "8080", "443"}
	udpPorts = []string{"3478", "3479", "5349", "49160"}
)

// TestGarbageOnEveryPort sends noise, and the beginnings of what the ports speak.
func TestGarbageOnEveryPort(t *testing.T) {
	w := start(t)
	beginnings := [][]byte{
		{}, {0}, {22, 3, 1}, []byte("GET "), []byte("GET / HTTP/1.1\r\n"), []byte("PROXY TCP4 "), []byte("\r\n\r\n\x00\r\nQUIT\n"),
		{0x00, 0x01, 0xFF, 0xEC, 0x21, 0x12, 0xA4, 0x42}, {0x00, 0x03, 0x00, 0x08, 0x21, 0x12, 0xA4, 0x42}, {0x40, 0, 0xFF, 0xFC}, {22, 254, 253, 0, 0},
	}
	noise := func() []byte {
		b := append([]byte(nil), beginnings[rand.N(len(beginnings))]...)
		for range rand.N(1200) {
			b = append(b, byte(rand.N(256)))
		}
		return b
	}
	w.attacked(t, func() {
		var wg sync.WaitGroup
		for _, port := range udpPorts {
			wg.Go(func() {
				conn, err := w.attacker.Dial(t.Context(), "udp4", serverIP+":"+port)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				paced(2000, 2000, func(int) { _, _ = conn.Write(noise()) })
			})
		}
		for _, port := range tcpPorts {
			wg.Go(func() {
				for range 300 {
					conn, err := w.attacker.Dial(t.Context(), "tcp4", serverIP+":"+port)
					if err != nil {
						t.Errorf("port %s: %v", port, err)
						return
					}
					_, _ = conn.Write(noise())
					_ = conn.SetReadDeadline(time.Now().Add(3 * time.Millisecond))
					_, _ = conn.Read(make([]byte, 1))
					conn.Close()
				}
			})
		}
		wg.Wait()
	})
}

// TestTenThousandConnections opens 10 000 connections from one address to each
// port, and keeps those that the server keeps: that are never so many that
// others find none.
func TestTenThousandConnections(t *testing.T) {
	const connections, most = 10000, 1000
	for _, port := range tcpPorts {
		for name, say := range map[string][]byte{"silent": nil, "one byte": {0}} {
			t.Run(port+" "+name, func(t *testing.T) {
				w := start(t)
				w.attacked(t, func() {
					var mu sync.Mutex
					var open []net.Conn
					var wg sync.WaitGroup
					for range 20 {
						wg.Go(func() {
							for range connections / 20 {
								conn, err := w.attacker.Dial(t.Context(), "tcp4", serverIP+":"+port)
								if err != nil {
									continue
								}
								_, _ = conn.Write(say)
								mu.Lock()
								open = append(open, conn)
								mu.Unlock()
							}
						})
					}
					wg.Wait()
					descriptors := w.metric(t, "process_open_fds")
					t.Logf("%d connections opened, %.0f descriptors in use", len(open), descriptors)
					if descriptors > most {
						t.Errorf("got %.0f descriptors in use, want %d at most", descriptors, most)
					}
					for _, conn := range open {
						_ = conn.(*net.TCPConn).SetLinger(0)
						conn.Close()
					}
				})
			})
		}
	}
}
