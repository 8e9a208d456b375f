package nattest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"

	"github.com/coder/websocket"
)

// pipe is a TCP listener in memory.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	addr   *net.TCPAddr
	nextID atomic.Int32
}

func newPipe(port int) *pipe {
	return &pipe{conns: make(chan net.Conn, 16), closed: make(chan struct{}), addr: &net.TCPAddr{IP: net.ParseIP(serverA), Port: port}}
}

type pipeConn struct {
	net.Conn
	local, remote net.Addr
}

func (c pipeConn) LocalAddr() net.Addr { return c.local }

func (c pipeConn) RemoteAddr() net.Addr { return c.remote }

func (p *pipe) dial() (net.Conn, error) {
	mine, theirs := net.Pipe()
	me := &net.TCPAddr{IP: net.ParseIP(natOuter), Port: 20000 + int(p.nextID.Add(1))}
	select {
	case p.conns <- pipeConn{theirs, p.addr, me}:
		return pipeConn{mine, me, p.addr}, nil
	case <-p.closed:
		return nil, syscall.ECONNREFUSED
	}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error {
	select {
	case <-p.closed:
		return errors.New("closed twice")
	default:
		close(p.closed)
		return nil
	}
}

func (p *pipe) Addr() net.Addr { return p.addr }

func (l *lab) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v1/ws", signaling)
	mux.HandleFunc("GET /nattest.json", func(w http.ResponseWriter, r *http.Request) {
		if l.noDoc {
			http.NotFound(w, r)
			return
		}
		token, _ := l.tokens.Issue()
		change := map[bool]string{true: "port", false: "all"}[len(l.addrs) == 1]
		fmt.Fprintf(w, `{"schema":1,"stun":["server.test:3478","server.test:3479"],"relayPorts":"49160-49359","token":%q,"changeRequest":%q}`,
			base64.RawURLEncoding.EncodeToString(token), change)
	})
	mux.HandleFunc("GET /v1/ice", func(w http.ResponseWriter, r *http.Request) {
		if l.status != 0 && r.Header.Get("Authorization") != "Bearer key" {
			w.WriteHeader(l.status)
			fmt.Fprint(w, `{"error":{"code":"unauthorized","message":"no key","hint":"TURNKEY_AUTH"}}`)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"iceServers": []any{
			map[string]any{"urls": []string{"stun:server.test:3478"}},
			map[string]any{
				"urls":     []string{"turn:server.test:3478?transport=udp", "turn:server.test:3478?transport=tcp"},
				"username": l.username, "credential": "secret",
			},
		}})
	})
	return mux
}

// signaling accepts a WebSocket and answers pings until it is closed.
func signaling(w http.ResponseWriter, r *http.Request) {
	if c, err := websocket.Accept(w, r, nil); err == nil {
		_, _, _ = c.Read(r.Context())
		c.CloseNow()
	}
}
