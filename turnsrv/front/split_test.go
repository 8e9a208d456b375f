package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/pires/go-proxyproto"
)

// selfSigned makes a certificate for turn.example.com.
func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"turn.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// port is one port of a server in the bubble of a test.
type port struct {
	*Splitter
	in *queue
}

// world serves TLS on a port, with 192.0.2.1 and loopback as trusted proxies.
func world(t *testing.T, wanted ...Kind) *port {
	t.Helper()
	in := newQueue(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 10), Port: 443}, 0, func() error { return nil })
	s := Split(in, Config{
		TLS:            &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("127.0.0.0/8")},
	}, wanted...)
	t.Cleanup(func() { s.Close() })
	return &port{s, in}
}

// end is one end of a pipe, with an address.
type end struct {
	net.Conn
	remote net.Addr
}

func (e end) RemoteAddr() net.Addr { return e.remote }

// dial connects from an address.
func (p *port) dial(t *testing.T, from string) net.Conn {
	t.Helper()
	here, there := net.Pipe()
	p.in.conns <- end{there, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	t.Cleanup(func() { here.Close() })
	return here
}

func client(c net.Conn, protocols ...string) *tls.Conn {
	return tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
}

// accepted returns the next connection of a kind, nil if there is none by now.
func (p *port) accepted(k Kind) net.Conn {
	synctest.Wait()
	select {
	case c := <-p.queues[k].conns:
		return c
	default:
		return nil
	}
}

// read returns n bytes of a connection that is served.
func read(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Errorf("got %v, want %d bytes", err, n)
	}
	return string(b)
}

const (
	binding = "\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"
	request = "GET /healthz HTTP/1.1\r\nHost: turn.example.com\r\n\r\n"
)

func TestConnectionsAreSorted(t *testing.T) {
	for _, tt := range []struct {
		name      string
		tls       bool
		protocols []string
		send      string
		want      Kind
	}{
		{"TURN", false, nil, binding, Plain},
		{"TURN in TLS", true, nil, binding, TURN},
		{"TURN in TLS, named", true, []string{"stun.turn"}, binding, TURN},
		{"STUN in TLS, named", true, []string{"stun.nat-discovery"}, binding, TURN},
		{"TURN that is named and sends garbage", true, []string{"stun.turn"}, "GET / HTTP/1.1\r\n", TURN},
		{"TURN of a client that names everything", true, []string{"http/1.1", "stun.turn", "stun.nat-discovery"}, binding, TURN},
		{"TURN that is named HTTP", true, []string{"http/1.1"}, binding, TURN},
		{"HTTP", true, nil, request, HTTP},
		{"HTTP/1.1, named", true, []string{"h2", "http/1.1"}, request, HTTP},
		{"PUT", true, nil, "PUT / HTTP/1.1\r\n", HTTP},
		{"plain POST", false, nil, "POST / HTTP/1.1\r\n", Plain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := world(t, Plain, TURN, HTTP)
				c := p.dial(t, "203.0.113.5:1000")
				if tt.tls {
					c = client(c, tt.protocols...)
				}
				go io.WriteString(c, tt.send)
				got := p.accepted(tt.want)
				if got == nil {
					t.Fatal("got no connection of the kind wanted")
				}
				defer got.Close()
				time.Sleep(time.Minute) // it has no deadline any more
				if text := read(t, got, len(tt.send)); text != tt.send {
					t.Errorf("got %q, want %q", text, tt.send)
				}
				if got.RemoteAddr().String() != "203.0.113.5:1000" {
					t.Errorf("got client %s", got.RemoteAddr())
				}
			})
		})
	}
}

func TestConnectionsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		tls  []string // protocols; nil is no TLS
		send string
	}{
		{"garbage in TLS", []string{}, "\xff\xff\xff\xff"},
		{"channel data in TLS", []string{}, "\x40\x00\x00\x04abcd"},
		{"lower case in TLS", []string{}, "get / http"},
		{"not wanted", nil, binding},
		{"broken handshake", nil, "\x16\x03\x01\x00\x05hello"},
		{"other protocol", []string{"h2"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := world(t, TURN, HTTP)
				c := p.dial(t, "203.0.113.5:1000")
				start := time.Now()
				if tt.tls != nil {
					c = client(c, tt.tls...)
				}
				go io.WriteString(c, tt.send)
				if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(start) > time.Second {
					// of TLS alerts only that they end the connection matters
					if _, err := io.Copy(io.Discard, c); err == nil && time.Since(start) > time.Second {
						t.Errorf("got %v after %v, want the end at once", err, time.Since(start))
					}
				}
				if p.accepted(TURN) != nil || p.accepted(HTTP) != nil {
					t.Error("got a connection, want none")
				}
			})
		})
	}
}

// Whatever a client leaves out, it has ten seconds, and others do not wait.
func TestSlowClientsEndAlone(t *testing.T) {
	for name, slow := range map[string]func(c net.Conn){
		"silence": func(net.Conn) {},
		"silence in TLS": func(c net.Conn) {
			_ = client(c).Handshake()
		},
		"half a handshake": func(c net.Conn) {
			_, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
		},
		"half a PROXY header": func(c net.Conn) { _, _ = io.WriteString(c, "PROX") },
		"byte by byte": func(c net.Conn) {
			hello := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 500)
			for i := range len(hello) {
				if _, err := io.WriteString(c, hello[i:i+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := world(t, Plain, TURN, HTTP)
				bad := p.dial(t, "203.0.113.5:1000")
				start := time.Now()
				var wg sync.WaitGroup
				wg.Go(func() { slow(bad) })
				good := client(p.dial(t, "203.0.113.6:1000"))
				go io.WriteString(good, binding)
				if c := p.accepted(TURN); c == nil || time.Since(start) > 0 {
					t.Errorf("got connection %v after %v, want one at once", c, time.Since(start))
				} else {
					c.Close()
				}
				_, _ = io.Copy(io.Discard, bad)
				if took := time.Since(start); took != handshakeTimeout {
					t.Errorf("got its end after %v, want %v", took, handshakeTimeout)
				}
				wg.Wait()
			})
		})
	}
}

// One byte at a time is slow, but not wrong.
func TestBytesMayComeOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := world(t, Plain)
		for _, text := range []string{binding, request, "POST /v1/token HTTP/1.1\r\n", "\r\n\r\nGET"} {
			c := p.dial(t, "203.0.113.5:1000")
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := range len(text) {
					if _, err := io.WriteString(c, text[i:i+1]); err != nil {
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
				c.Close()
			})
			got, err := p.Listener(Plain).Accept()
			if err != nil {
				t.Fatal(err)
			}
			if s := read(t, got, len(text)); s != text {
				t.Errorf("got %q, want %q", s, text)
			}
			got.Close()
			wg.Wait()
		}
	})
}

func header(t *testing.T, version byte, source string) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(source)),
		net.TCPAddrFromAddrPort(netip.MustParseAddrPort(map[bool]string{true: "[2001:db8::10]:443", false: "192.0.2.10:443"}[strings.HasPrefix(source, "[")])))
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestProxyHeaders(t *testing.T) {
	const proxy, localProxy, stranger = "192.0.2.1:5000", "127.0.0.1:5000", "203.0.113.5:1000"
	v1, v2 := header(t, 1, "198.51.100.7:4000"), header(t, 2, "198.51.100.7:4000")
	tests := []struct {
		name, from, header string
		want               string // client; "" is refused
	}{
		{"version 1", proxy, v1, "198.51.100.7:4000"},
		{"version 2", proxy, v2, "198.51.100.7:4000"},
		{"version 1, IPv6", proxy, header(t, 1, "[2001:db8::7]:4000"), "[2001:db8::7]:4000"},
		{"version 2, IPv6", proxy, header(t, 2, "[2001:db8::7]:4000"), "[2001:db8::7]:4000"},
		{"version 2 with extensions", proxy, v2[:14] + "\x00\x10" + v2[16:] + "\x04\x00\x01\x00", "198.51.100.7:4000"},
		{"none", proxy, "", proxy},
		{"unknown client", proxy, "PROXY UNKNOWN\r\n", proxy},
		{"the proxy's own", proxy, v2[:12] + "\x20\x00\x00\x00", proxy},
		{"none, stranger", stranger, "", stranger},
		{"version 1, stranger", stranger, v1, ""},
		{"version 2, stranger", stranger, v2, ""},
		{"no addresses", proxy, "PROXY TCP4\r\n", ""},
		{"not an address", proxy, "PROXY TCP4 a b 1 2\r\n", ""},
		{"too long", proxy, "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", ""},
		{"version 3", proxy, v2[:12] + "\x31" + v2[13:], ""},
		{"cut addresses", proxy, v2[:14] + "\x00\x04" + v2[16:20], ""},
		{"a path", proxy, v2[:13] + "\x31\x00\xd8" + strings.Repeat("a", 216), ""},
		{"loopback client", proxy, header(t, 2, "127.0.0.1:4000"), ""},
		{"mapped loopback client", proxy, "PROXY TCP6 ::ffff:127.0.0.1 ::1 4000 443\r\n", ""},
		{"loopback client of a proxy here", localProxy, header(t, 2, "127.0.0.1:4000"), "127.0.0.1:4000"},
		{"no client", proxy, header(t, 2, "0.0.0.0:4000"), ""},
		{"multicast client", proxy, header(t, 2, "224.0.0.1:4000"), ""},
		{"no port", proxy, header(t, 2, "198.51.100.7:0"), ""},
		{"two headers", proxy, v1 + v1, "198.51.100.7:4000"}, // the second is what the client sent
	}
	for _, tt := range tests {
		for _, secure := range []bool{false, true} {
			if secure && tt.name == "two headers" {
				continue
			}
			t.Run(fmt.Sprintf("%s, TLS %t", tt.name, secure), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := world(t, Plain, TURN)
					c := p.dial(t, tt.from)
					kind := Plain
					go func() {
						if tt.header != "" {
							if _, err := io.WriteString(c, tt.header); err != nil {
								return
							}
						}
						if secure {
							c = client(c)
						}
						_, _ = io.WriteString(c, binding)
					}()
					if secure {
						kind = TURN
					}
					got := p.accepted(kind)
					if got == nil {
						if tt.want != "" {
							t.Fatalf("got none, want client %s", tt.want)
						}
						return
					}
					defer got.Close()
					if client := got.RemoteAddr().String(); client != tt.want {
						t.Errorf("got client %s, want %q", client, tt.want)
					}
					want := binding
					if tt.name == "two headers" {
						want = v1 + binding
					}
					if text := read(t, got, len(want)); text != want {
						t.Errorf("got %q, want %q", text, want)
					}
				})
			})
		}
	}
}

func TestHandshakesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := world(t, TURN)
		p.pending.max, p.pending.perClient = 8, 2
		var conns []net.Conn
		for i := range 3 {
			conns = append(conns, p.dial(t, fmt.Sprintf("[2001:db8::%d]:1000", i+1))) // one /64
		}
		synctest.Wait()
		if _, err := conns[2].Write([]byte{tlsHandshake}); err == nil {
			t.Error("third of one network: got no error, want it closed")
		}
		for i := range 6 {
			conns = append(conns, p.dial(t, fmt.Sprintf("203.0.113.%d:1000", i+1)))
		}
		synctest.Wait()
		if _, err := conns[0].Write([]byte{tlsHandshake}); err != nil {
			t.Errorf("with all taken: got %v for the oldest, want it there", err)
		}
		conns = append(conns, p.dial(t, "203.0.113.77:1000"))
		synctest.Wait()
		if _, err := conns[0].Write([]byte{tlsHandshake}); err == nil {
			t.Error("with one too many: got no error for the oldest, want it closed")
		}
		go io.WriteString(client(conns[len(conns)-1]), binding)
		if c := p.accepted(TURN); c == nil {
			t.Error("got nothing for the newest, want it served")
		} else {
			c.Close()
		}
		for i := range 4 { // a trusted proxy has many clients
			conns = append(conns, p.dial(t, fmt.Sprintf("192.0.2.1:%d", 1000+i)))
			go io.WriteString(client(conns[len(conns)-1]), binding)
			if c := p.accepted(TURN); c == nil {
				t.Error("got nothing for the proxy, want it served")
			} else {
				c.Close()
			}
		}
		p.Close()
		if n := p.pending.entries.Len(); n != 0 || len(p.pending.clients) != 0 {
			t.Errorf("got %d entries and %v, want none", n, p.pending.clients)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := world(t, TURN, HTTP)
		silent := p.dial(t, "203.0.113.5:1000")
		waiting := client(p.dial(t, "203.0.113.5:1001"))
		go io.WriteString(waiting, binding) // nobody accepts
		synctest.Wait()
		if err := p.Listener(TURN).Close(); err != nil {
			t.Error(err)
		}
		https := client(p.dial(t, "203.0.113.5:1002"))
		go io.WriteString(https, request)
		if c := p.accepted(HTTP); c == nil {
			t.Error("got no HTTP after TURN was closed, want it")
		} else {
			c.Close()
		}
		start := time.Now()
		if err := p.Listener(HTTP).Close(); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil || time.Since(start) != 0 {
			t.Errorf("got %v after %v, want nil at once", err, time.Since(start))
		}
		for _, k := range []Kind{TURN, HTTP} {
			if _, err := p.Listener(k).Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want net.ErrClosed", err)
			}
		}
		if _, err := silent.Read(make([]byte, 1)); err == nil {
			t.Error("got a connection that is still open")
		}
		if _, err := io.Copy(io.Discard, waiting); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, want the end", err)
		}
	})
}

// HTTP and WebSockets run on what is handed on, and know that it is TLS.
func TestHTTPServerOnASplitPort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Split(l, Config{TLS: &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}}, TURN, HTTP)
	mux := http.NewServeMux()
	mux.HandleFunc("/tls", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS != nil, " ", r.Proto) })
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		kind, text, err := c.Read(r.Context())
		if err == nil {
			_ = c.Write(r.Context(), kind, append([]byte("echo "), text...))
		}
		_ = c.Close(websocket.StatusNormalClosure, "")
	})
	server := &http.Server{Handler: Handler(mux), ConnContext: ConnContext}
	ended := make(chan error)
	go func() { ended <- server.Serve(s.Listener(HTTP)) }()

	for _, protocols := range [][]string{nil, {"h2", "http/1.1"}} {
		c := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}}}
		res, err := c.Get("https://" + l.Addr().String() + "/tls")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(body) != "true HTTP/1.1" {
			t.Errorf("got %q, want TLS and HTTP/1.1", body)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, "wss://"+l.Addr().String()+"/ws", &websocket.DialOptions{HTTPClient: &c})
		if err != nil {
			t.Fatal(err)
		}
		if err := ws.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, text, err := ws.Read(ctx); err != nil || string(text) != "echo hello" {
			t.Errorf("got %q, %v, want echo hello", text, err)
		}
		ws.CloseNow()
	}
	if err := errors.Join(server.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("got %v, want http.ErrServerClosed", err)
	}
}

// FuzzSort sends anything, and wants no panic and only what was sent handed on.
func FuzzSort(f *testing.F) {
	for _, s := range []string{binding, request, "PROXY TCP4 198.51.100.7 192.0.2.10 4000 443\r\n" + binding, "PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c12345678abcd", "\x16\x03\x01\x00\x05hello"} {
		f.Add([]byte(s))
	}
	s := &Splitter{Config: Config{TLS: &tls.Config{Certificates: []tls.Certificate{selfSigned(f)}},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}, queues: map[Kind]*queue{HTTP: nil}}
	f.Fuzz(func(t *testing.T, b []byte) {
		raw := &script{Reader: bufio.NewReader(bytes.NewReader(b))}
		_, c, err := s.sort(raw)
		if err != nil {
			return
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.HasSuffix(b, got) {
			t.Errorf("got %q, %v of %q", got, err, b)
		}
		if !addrOf(c.RemoteAddr()).IsValid() {
			t.Errorf("got client %v", c.RemoteAddr())
		}
	})
}

// script is a connection from a trusted proxy that sends what it has.
type script struct {
	net.Conn
	*bufio.Reader
}

func (s *script) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s *script) Write(p []byte) (int, error) { return len(p), nil }
func (s *script) RemoteAddr() net.Addr        { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (s *script) Close() error                { return nil }
