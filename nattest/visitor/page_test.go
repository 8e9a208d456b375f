package visitor

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// lab is a server and one browser, joined by a network that only passes what
// its filter lets pass.
type lab struct {
	*Server
	t testing.TB

	mu      sync.Mutex
	revoked []string
	out     []sentPacket
	live    map[netip.Addr]*fakeConn // by the server's address
	pass    func(from netip.AddrPort) bool
	mapped  func(to netip.AddrPort) netip.AddrPort // the browser's address towards a destination
	page    credentials
	own     credentials
	mute    bool // the browser sends nothing
}

type sentPacket struct {
	raw      []byte
	from, to netip.AddrPort
	size     int
	at       time.Time
}

var (
	s1, s2  = netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("203.0.113.11")
	browser = netip.MustParseAddrPort("198.51.100.7:40000")
)

func issue(label string, _ time.Duration) ([]ICEServer, error) {
	return []ICEServer{{URLs: []string{"stun:x"}}, {URLs: []string{"turn:x?transport=udp", "turn:x?transport=tcp", "turns:x"}, Username: "1:" + label, Credential: "p"}}, nil
}

func newLab(t testing.TB, addresses ...netip.Addr) *lab {
	l := &lab{t: t, live: map[netip.Addr]*fakeConn{}, page: credentials{"abcd", "abcdefghijklmnopqrstuv"}}
	l.pass = func(netip.AddrPort) bool { return true }
	l.mapped = func(netip.AddrPort) netip.AddrPort { return browser }
	var endpoints []Endpoint
	for _, a := range addresses {
		for _, port := range []uint16{3478, 3479} {
			at := netip.AddrPortFrom(a, port)
			endpoints = append(endpoints, Endpoint{At: at, Bound: at, Send: func(b []byte, to netip.AddrPort) (int, error) {
				l.deliver(at, to, b, func(raw []byte, from netip.AddrPort) { l.Heard(at, raw, from) })
				return len(b), nil
			}})
		}
	}
	l.Server = New(Config{
		Admit: func(r *http.Request) (Guest, http.Handler) {
			a, _ := netip.ParseAddrPort(r.RemoteAddr)
			return Guest{a.Addr(), issue}, nil
		},
		Refuse: func(w http.ResponseWriter, _ *http.Request, e Error) { http.Error(w, e.Code, e.Status) },
		Revoke: func(label string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.revoked = append(l.revoked, label)
		},
		Endpoints: func() []Endpoint { return endpoints },
		Listen: func(a netip.Addr) (net.PacketConn, error) {
			c := &fakeConn{lab: l, at: netip.AddrPortFrom(a, 50000), in: make(chan packetIn, 64), closed: make(chan struct{})}
			l.live[a] = c
			return c, nil
		},
	})
	return l
}

// deliver carries a check to the browser, and its answer and its own check back.
func (l *lab) deliver(from, to netip.AddrPort, raw []byte, back func([]byte, netip.AddrPort)) {
	l.mu.Lock()
	l.out = append(l.out, sentPacket{bytes.Clone(raw), from, to, len(raw), time.Now()})
	l.mu.Unlock()
	if to != l.mapped(from) || !l.pass(from) {
		return
	}
	m := &stun.Message{Raw: bytes.Clone(raw)}
	if m.Decode() != nil || m.Type != stun.BindingRequest || stun.NewShortTermIntegrity(l.page.Pwd).Check(m) != nil {
		return
	}
	answer := stun.MustBuild(m, stun.BindingSuccess, stun.NewShortTermIntegrity(l.page.Pwd), stun.Fingerprint)
	back(answer.Raw, l.mapped(from))
}

// check is the browser's own check to a candidate of the server.
func (l *lab) check() []byte { return l.checkOf(l.page.Ufrag) }

func (l *lab) checkOf(ufrag string) []byte {
	return stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(l.own.Ufrag+":"+ufrag),
		stun.NewShortTermIntegrity(l.own.Pwd), stun.Fingerprint).Raw
}

// begin makes a session and returns its id and label.
func (l *lab) begin() (id, label string) {
	l.t.Helper()
	var got struct {
		ID        string
		Filtering map[string]ICEServer
	}
	if code := l.post("/v1/nat", nil, &got); code != 200 {
		l.t.Fatalf("begin: got %d", code)
	}
	return got.ID, got.Filtering["v4"].Username[2:]
}

// start begins a filtering test as a browser does, and sends the control.
func (l *lab) start() (id string) {
	l.t.Helper()
	id, label := l.begin()
	l.Allocated(Allocation{Label: label, Client: l.mapped(netip.AddrPortFrom(s1, 3478)), Server: netip.AddrPortFrom(s1, 3478), Transport: "udp"})
	var got struct {
		credentials
		Candidates []netip.AddrPort
	}
	if code := l.post("/v1/nat/"+id+"/v4/checks", l.page, &got); code != 200 || len(got.Candidates) != 1 || !got.valid() {
		l.t.Fatalf("checks: got %d %+v", code, got)
	}
	l.own = got.credentials
	if !l.mute {
		l.live[s1].arrive(l.check(), l.mapped(got.Candidates[0]))
	}
	return id
}

func (l *lab) post(path string, in, out any) int {
	body, _ := json.Marshal(in)
	return l.postRaw(path, string(body), out)
}

func (l *lab) postRaw(path, body string, out any) int {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", path, bytes.NewReader([]byte(body)))
	r.RemoteAddr = browser.String()
	l.ServeHTTP(w, r)
	if out != nil && w.Code == 200 {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			l.t.Fatalf("%s: %v: %s", path, err, w.Body)
		}
	}
	return w.Code
}

// packets returns what the server has sent so far.
func (l *lab) packets() []sentPacket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]sentPacket(nil), l.out...)
}

// fakeConn is the control's socket.
type fakeConn struct {
	net.PacketConn
	lab    *lab
	at     netip.AddrPort
	in     chan packetIn
	closed chan struct{}
	once   sync.Once
}

type packetIn struct {
	raw  []byte
	from netip.AddrPort
}

func (c *fakeConn) arrive(raw []byte, from netip.AddrPort) { c.in <- packetIn{raw, from} }

func (c *fakeConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.at) }

func (c *fakeConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *fakeConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.in:
		return copy(b, p.raw), net.UDPAddrFromAddrPort(p.from), nil
	case <-c.closed:
		return 0, nil, errors.New("closed")
	}
}

func (c *fakeConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.lab.deliver(c.at, to.(*net.UDPAddr).AddrPort(), b, func(raw []byte, from netip.AddrPort) { c.arrive(raw, from) })
	return len(b), nil
}
