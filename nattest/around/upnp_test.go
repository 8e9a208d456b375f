package around

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
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

// askUPnP asks a router of which the HTTP server is on loopback.
func askUPnP(t *testing.T, from []string, location func(base string) []string, handler http.Handler) (Protocol, time.Duration) {
	t.Helper()
	s := httptest.NewServer(handler)
	defer s.Close()
	defer s.CloseClientConnections()
	var d net.Dialer
	c := Config{DialContext: d.DialContext, System: System{Multicast: func(context.Context, netip.Addr) (net.PacketConn, error) {
		return &found{silent: newSilent(), from: from, location: location(s.URL)}, nil
	}}}
	ctx, cancel := context.WithTimeout(t.Context(), lookTime)
	defer cancel()
	start := time.Now()
	p := c.upnp(ctx, clientAt.Addr(), netip.MustParseAddr("127.0.0.1"))
	return p, time.Since(start)
}

func onIt(base string) []string { return []string{base + "/rootDesc.xml"} }

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
	p, _ := askUPnP(t, []string{"127.0.0.1"}, onIt, http.HandlerFunc(honest))
	if p.State != Available || p.External != outer || p.Server != "A router" {
		t.Errorf("got %+v, want available, %s", p, outer)
	}
}

func TestUPnPOfOthersIsNotAsked(t *testing.T) {
	var asked atomic.Int32
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); honest(w, r) })
	for name, tt := range map[string]struct {
		from     string
		location func(string) []string
	}{
		"another sender":     {"192.168.1.77", onIt},
		"another place":      {"127.0.0.1", func(base string) []string { return []string{strings.Replace(base, "127.0.0.1", "127.0.0.2", 1)} }},
		"a name":             {"127.0.0.1", func(base string) []string { return []string{strings.Replace(base, "127.0.0.1", "localhost", 1)} }},
		"somebody in before": {"127.0.0.1", func(base string) []string { return []string{strings.Replace(base, "//", "//127.0.0.1@", 1)} }},
	} {
		if p, _ := askUPnP(t, []string{tt.from}, tt.location, handler); p.State != Unknown || asked.Load() != 0 {
			t.Errorf("%s: got %+v and %d requests, want unknown and none", name, p, asked.Load())
		}
	}
	// The gateway is heard among others.
	p, _ := askUPnP(t, []string{"192.168.1.77", "127.0.0.1"}, func(base string) []string { return []string{"http://192.168.1.77/", base} }, handler)
	if p.State != Available {
		t.Errorf("got %+v, want available", p)
	}
}

func TestHostileUPnP(t *testing.T) {
	var elsewhere atomic.Int32
	third := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer third.Close()
	for name, handler := range map[string]http.HandlerFunc{
		"redirects":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, third.URL, http.StatusFound) },
		"never ends":   func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, zeros{}) },
		"never begins": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"long headers": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
		"many tags":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("<a>", 1<<14)) },
		"a fault": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				io.WriteString(w, description)
				return
			}
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "<errorCode>606</errorCode>")
		},
	} {
		p, took := askUPnP(t, []string{"127.0.0.1"}, onIt, handler)
		want := Unknown
		if name == "a fault" {
			want = Refused
		}
		if p.State != want || p.Why == "" || len(p.Why) > 300 || took > lookTime {
			t.Errorf("%s: got %+v after %s, want %s and why", name, p, took, want)
		}
	}
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("another server was asked %d times, want never", n)
	}
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
