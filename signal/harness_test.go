package signal

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// admitAll is the Admit of tests that are not about admission.
func admitAll(*http.Request, string, string) (Grant, *Error) { return Grant{}, nil }

// serve starts a server on loopback and returns its ws:// address. At the end
// of the test it is shut down, and nothing of it may be left.
func serve(t testing.TB, s *Server) string {
	t.Helper()
	h := httptest.NewUnstartedServer(s)
	// A small buffer in the kernel, so that a slow reader is soon noticed.
	h.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetWriteBuffer(128 << 10)
		return ctx
	}
	h.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutting down: %v", err)
		}
		h.Close()
		noGoroutines(t)
	})
	return "ws" + strings.TrimPrefix(h.URL, "http") + "/v1/ws"
}

// noGoroutines fails if a goroutine of this package's servers is left. Those
// that are returning at this moment are given the processor.
func noGoroutines(t testing.TB) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(2 * time.Second); ; runtime.Gosched() {
		stacks := string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "signal.(*conn)") && !strings.Contains(stacks, "signal.(*Server)") {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("goroutines left after Shutdown:\n%s", stacks)
			return
		}
	}
}

// client is one WebSocket of a test. Everything it does ends within 10 s.
type client struct {
	t  testing.TB
	ws *websocket.Conn
	nc net.Conn // under ws
	id string
}

func dial(t testing.TB, url string, opts *websocket.DialOptions) *client {
	t.Helper()
	c := &client{t: t}
	var o websocket.DialOptions
	if opts != nil {
		o = *opts
	}
	o.HTTPClient = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
			c.nc, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return c.nc, err
		}}}
	var err error
	if c.ws, _, err = websocket.Dial(patience(t), url, &o); err != nil {
		t.Fatalf("dialing %s: %v", url, err)
	}
	c.ws.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = c.ws.CloseNow() })
	return c
}

// enter dials and joins the room.
func enter(t testing.TB, url, room string) *client {
	t.Helper()
	c := dial(t, url, nil)
	c.send(`{"type":"join","room":"` + room + `"}`)
	c.id = c.expect("welcome")["peer"].(string)
	return c
}

func (c *client) send(msg string) {
	c.t.Helper()
	if err := c.ws.Write(patience(c.t), websocket.MessageText, []byte(msg)); err != nil {
		c.t.Fatalf("sending %.80s: %v", msg, err)
	}
}

func (c *client) next() map[string]any {
	c.t.Helper()
	_, b, err := c.ws.Read(patience(c.t))
	if err != nil {
		c.t.Fatalf("reading: %v", err)
	}
	return object(c.t, b)
}

// expect reads one message and fails if it is of another type.
func (c *client) expect(kind string) map[string]any {
	c.t.Helper()
	m := c.next()
	if m["type"] != kind {
		c.t.Fatalf("got %v, want a message of type %s", m, kind)
	}
	return m
}

// refused reads an error, then the end of the socket (status 0: stays open).
func (c *client) refused(code string, status websocket.StatusCode) map[string]any {
	c.t.Helper()
	m := c.expect("error")
	fatal, _ := m["fatal"].(bool)
	if m["code"] != code || m["message"] == "" || m["hint"] == "" || fatal != (status != 0) {
		c.t.Fatalf("got %v, want error %s with a message and a hint, fatal %v", m, code, status != 0)
	}
	if status != 0 {
		c.closed(status)
	}
	return m
}

func (c *client) closed(status websocket.StatusCode) {
	c.t.Helper()
	_, b, err := c.ws.Read(patience(c.t))
	if got := websocket.CloseStatus(err); got != status {
		c.t.Fatalf("got %s and error %v, want the socket closed with %d", b, err, status)
	}
}

func patience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func object(t testing.TB, b []byte) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%s is not an object: %v", b, err)
	}
	return m
}

func sameJSON(t testing.TB, got, want []byte) bool {
	t.Helper()
	return reflect.DeepEqual(object(t, got), object(t, want))
}

// pipes is a listener in memory, for tests in a synctest bubble.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// dialer makes websocket.Dial connect through the pipe.
func (p pipes) dialer() *websocket.DialOptions {
	return &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			p <- far
			return near, nil
		},
		DisableKeepAlives: true,
	}}}
}

// upgrade asks for a WebSocket by hand, for clients that then misbehave.
const upgrade = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// textFrame is a masked text frame (RFC 6455 section 5.2) of up to 125 bytes.
func textFrame(text string) string {
	return string([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
}
