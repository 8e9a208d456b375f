//go:build linux

package attack

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

const headers = 28 // bytes of IPv4 and UDP

// question is a datagram that anybody may send in anybody's name.
type question struct {
	name    string
	port    string
	b       []byte
	payload float64 // how many bytes may come out for each one in
}

func request(method stun.Method, setters ...stun.Setter) []byte {
	return stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, setters...)...).Raw
}

func attribute(t stun.AttrType, v ...byte) stun.Setter { return stun.RawAttribute{Type: t, Value: v} }

// questions are all unauthenticated requests, each in the shortest form that
// gets an answer and in that of usual clients.
func questions() []question {
	transport := attribute(stun.AttrRequestedTransport, 17, 0, 0, 0)
	integrity := attribute(stun.AttrMessageIntegrity, make([]byte, 20)...)
	wrong := []stun.Setter{stun.NewUsername("1999999999:x"), stun.NewRealm("turnkey"), stun.NewNonce("made-up"), integrity}
	var list []question
	for _, port := range []string{"3478", "3479"} {
		list = append(list,
			question{"Binding", port, request(stun.MethodBinding), 2.8},
			question{"Binding with FINGERPRINT", port, request(stun.MethodBinding, stun.Fingerprint), 2.3},
			question{"Binding, one unknown attribute", port, request(stun.MethodBinding, attribute(0x7FFE)), 1.5},
			question{"Binding, 16 unknown attributes", port, request(stun.MethodBinding, unknown(16)...), 0.8},
			question{"Binding with CHANGE-REQUEST", port, request(stun.MethodBinding, attribute(stun.AttrChangeRequest, 0, 0, 0, 6)), 1.3},
		)
	}
	for _, method := range []stun.Method{stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind} {
		name := method.String()
		list = append(list,
			question{name + ", nothing but a header", "3478", request(method), 3.6},
			question{name + ", as a client asks first", "3478", request(method, transport, stun.Fingerprint), 2},
			question{name + ", 100 unknown attributes", "3478", request(method, unknown(100)...), 0.2},
			question{name + ", integrity without credentials", "3478", request(method, integrity), 0.7},
			question{name + ", made-up nonce", "3478", request(method, append([]stun.Setter{transport}, wrong...)...), 0.8},
		)
	}
	return append(list,
		question{"Send indication", "3478", stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication)).Raw, 0},
		question{"Binding indication", "3478", stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)).Raw, 0},
		question{"Binding response", "3478", stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw, 0},
		question{"unknown method", "3478", request(0x7FF), 0},
		question{"ChannelData", "3478", []byte{0x40, 0, 0, 4, 1, 2, 3, 4}, 0},
		question{"nothing", "3478", nil, 0},
		question{"garbage", "3478", []byte("GET / HTTP/1.1\r\n\r\n"), 0},
		question{"Binding of RFC 3489", "3478", classic(), 2.2},
		question{"header without type and magic cookie", "3478", make([]byte, 20), 0},
		question{"Binding on the port of DTLS", "5349", request(stun.MethodBinding), 0},
		question{"DTLS ClientHello", "5349", clientHello(), 0.8},
	)
}

// classic is a Binding request without the magic cookie.
func classic(setters ...stun.Setter) []byte {
	b := request(stun.MethodBinding, setters...)
	b[4] ^= 0xFF
	return b
}

func unknown(n int) (setters []stun.Setter) {
	for i := range n {
		setters = append(setters, attribute(stun.AttrType(0x7000+i)))
	}
	return setters
}

// clientHello is the shortest DTLS 1.2 ClientHello that is answered.
func clientHello() []byte {
	body := append([]byte{254, 253}, make([]byte, 32)...) // version, random
	body = append(body, 0, 0, 0, 2, 0xC0, 0x2B, 1, 0)     // no session, no cookie, one suite, no compression
	body = append(body, 0, 22, 0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3)
	handshake := append([]byte{1, 0, 0, byte(len(body)), 0, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)
	return append([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(handshake))}, handshake...)
}

// gather counts the datagrams that come within a while of the last one.
func gather(conn net.PacketConn, wait time.Duration) (datagrams, bytes int) {
	buf := make([]byte, 1<<16)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return datagrams, bytes
		}
		datagrams, bytes = datagrams+1, bytes+n
	}
}

// TestReflection measures what comes out for what goes in, which docs/attacks.md
// has as a table: run it with -v.
func TestReflection(t *testing.T) {
	start(t).reflect(t, questions())
}

// reflect asks each question from a port of its own, and measures what comes.
func (w world) reflect(t *testing.T, questions []question) {
	t.Helper()
	var conns []net.PacketConn
	for _, q := range questions {
		conn := w.client.Listen(clientIP + ":0")
		to, err := net.ResolveUDPAddr("udp4", serverIP+":"+q.port)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.WriteTo(q.b, to); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	t.Log("| Request | Port | Bytes in | Bytes out | Payload | On the wire |")
	wait := 2500 * time.Millisecond // a server that repeats an answer begins after a second
	for i, q := range questions {
		n, out := gather(conns[i], wait)
		wait = 10 * time.Millisecond // the others have waited meanwhile
		ratio := float64(out) / float64(max(len(q.b), 1))
		wire := float64(out+n*headers) / float64(len(q.b)+headers)
		t.Logf("| %s | %s | %d | %d | %.2f | %.2f |", q.name, q.port, len(q.b), out, ratio, wire)
		if ratio > q.payload || n > 1 || (q.payload > 0) != (n > 0) {
			t.Errorf("%s, port %s: got %d bytes in %d datagrams for %d, want %.2f times as many at most", q.name, q.port, out, n, len(q.b), q.payload)
		}
	}
}

// TestReflectionAtTheLimit floods with the two requests that are worth most.
func TestReflectionAtTheLimit(t *testing.T) {
	const rate, burst, seconds, perSecond = 20, 200, 3, 5000
	for _, q := range []question{
		{"Binding", "3478", request(stun.MethodBinding), 2.8},
		{"Allocate, nothing but a header", "3478", request(stun.MethodAllocate), 3.6},
	} {
		t.Run(q.name, func(t *testing.T) {
			w := start(t)
			conn := w.client.Listen(clientIP + ":0")
			to := &net.UDPAddr{IP: net.ParseIP(serverIP), Port: 3478}
			answers, done := make(chan string, 1), make(chan struct{})
			count := 0
			go func() {
				defer close(done)
				n, bytes := gather(conn, time.Second)
				count = n
				in := len(q.b) * seconds * perSecond
				answers <- fmt.Sprintf("| %s, %d a second for %d s | %s | %d | %d | %.2f | %.2f |", q.name, perSecond, seconds, q.port, in, bytes,
					float64(bytes)/float64(in), float64(bytes+n*headers)/float64(in+seconds*perSecond*headers))
			}()
			begin := time.Now()
			for i := range seconds * perSecond {
				if _, err := conn.WriteTo(q.b, to); err != nil {
					t.Fatal(err)
				}
				if i%50 == 49 {
					time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / perSecond)))
				}
			}
			took := time.Since(begin)
			<-done
			t.Log(<-answers)
			if most := burst + int(rate*(took.Seconds()+1)); count > most || count < burst {
				t.Errorf("got %d answers in %v, want %d to %d", count, took, burst, most)
			}
		})
	}
}
