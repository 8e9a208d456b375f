package around

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
)

// found is a multicast socket on which devices answer, each with a location.
type found struct {
	*silent
	from, location []string
	next           int
}

func (s *found) ReadFrom(b []byte) (int, net.Addr, error) {
	if s.next == len(s.from) {
		return s.silent.ReadFrom(b)
	}
	i := s.next
	s.next++
	at := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(s.from[i]), 1900))
	return copy(b, "HTTP/1.1 200 OK\r\nLOCATION: "+s.location[i]+"\r\nSERVER: Lab/1\r\n\r\n"), at, nil
}

// pipes is a listener to which dial connects.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// askUPnP asks the router 192.168.1.1, whose HTTP server has this handler, in
// a bubble of fake time. Other addresses may not be dialed.
func askUPnP(t *testing.T, from, location []string, handler http.HandlerFunc) (p Protocol, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{Handler: handler}
		go server.Serve(l)
		defer server.Close()
		c := Config{
			DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
				if network != "tcp4" || addr != "192.168.1.1:5000" {
					t.Errorf("%s %s was dialed", network, addr)
					return nil, net.ErrClosed
				}
				ours, theirs := net.Pipe()
				l.conns <- theirs
				return ours, nil
			},
			System: System{Multicast: func(context.Context, netip.Addr) (net.PacketConn, error) {
				return &found{silent: newSilent(), from: from, location: location}, nil
			}},
		}
		ctx, cancel := context.WithTimeout(t.Context(), lookTime)
		defer cancel()
		start := time.Now()
		p = c.upnp(ctx, clientAt.Addr(), gatewayIP)
		took = time.Since(start)
	})
	return p, took
}

var onIt = []string{"http://192.168.1.1:5000/rootDesc.xml"}

// honest answers as an honest one does.
func honest(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		io.WriteString(w, description)
		return
	}
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("SOAPAction") != `"urn:schemas-upnp-org:service:WANIPConnection:1#GetExternalIPAddress"` || !strings.Contains(string(body), "<u:GetExternalIPAddress xmlns:u=\"urn:schemas-upnp-org:service:WANIPConnection:1\">") {
		http.Error(w, string(body), http.StatusBadRequest)
		return
	}
	io.WriteString(w, "<NewExternalIPAddress>203.0.113.5</NewExternalIPAddress>")
}

func TestUPnP(t *testing.T) {
	p, _ := askUPnP(t, []string{"192.168.1.1"}, onIt, honest)
	if p.State != Available || p.External != outer || p.Server != "A router" {
		t.Errorf("got %+v, want available, %s", p, outer)
	}
	// The gateway is heard among others.
	if p, _ := askUPnP(t, []string{"192.168.1.77", "192.168.1.1"}, append([]string{"http://192.168.1.77/"}, onIt...), honest); p.State != Available {
		t.Errorf("got %+v, want available", p)
	}
}

func TestUPnPOfOthersIsNotAsked(t *testing.T) {
	for name, tt := range map[string]struct{ from, location string }{
		"another sender": {"192.168.1.77", onIt[0]},
		"another place":  {"192.168.1.1", "http://192.168.1.77:5000/"},
		"a name":         {"192.168.1.1", "http://router.lab:5000/"},
		"a user":         {"192.168.1.1", "http://192.168.1.77@192.168.1.1:5000/"},
	} {
		handler := func(http.ResponseWriter, *http.Request) { t.Errorf("%s: asked", name) }
		if p, _ := askUPnP(t, []string{tt.from}, []string{tt.location}, handler); p.State != Unknown {
			t.Errorf("%s: got %+v, want unknown", name, p)
		}
	}
}

func TestHostileUPnP(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://203.0.113.66/", http.StatusFound)
		},
		"never ends":                 func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, zeros{}) },
		"never begins":               func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"long headers":               func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
		"many tags":                  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("<a>", 1<<14)) },
		"an escape for the terminal": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<\u009b2J>") },
		"a fault": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				io.WriteString(w, description)
				return
			}
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "<errorCode>606</errorCode>")
		},
	} {
		p, took := askUPnP(t, []string{"192.168.1.1"}, onIt, handler)
		want := Unknown
		if name == "a fault" {
			want = Refused
		}
		if p.State != want || p.Why == "" || len(p.Why) > 300 || strings.ContainsFunc(p.Why, unicode.IsControl) || took > lookTime {
			t.Errorf("%s: got %+v after %s, want %s and why", name, p, took, want)
		}
	}
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
