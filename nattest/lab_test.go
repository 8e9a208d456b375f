package nattest

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/vnet"
	"github.com/pion/turn/v4"

	"turnkey/stunsrv"
)

const (
	serverA  = "203.0.113.10"
	serverB  = "203.0.113.11"
	natOuter = "203.0.113.1"
	client   = "192.168.1.2"
)

// lab is a server on the internet and a client behind a NAT, all in memory.
type lab struct {
	t        *testing.T
	nat      *vnet.NATType // nil: the client is on the internet itself
	addrs    []string      // of the server
	status   int           // of /v1/ice, 0 is 200
	onServer bool          // the client is the server's machine
	noHTTP   bool
	noTCP    bool                     // TCP 3478 refuses
	noDoc    bool                     // no /nattest.json
	silent   []string                 // STUN endpoints that do not listen
	filter   func(c vnet.Chunk) bool  // of the internet; false drops
	password func(user string) string // of the TURN server
	username string
	answer   func(pc net.PacketConn, from net.Addr, req *stun.Message) // nil is an honest one
	stuns    []net.PacketConn                                          // the STUN sockets
	sites    map[netip.AddrPort]net.PacketConn                         // all STUN sockets
	tokens   *stunsrv.Tokens

	cfg     Config
	closers []func()
}

// run builds the lab in a bubble, where time is fake and where a goroutine
// left over fails the test.
func (l *lab) run(t *testing.T, f func(t *testing.T, c Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l.t = t
		defer func() {
			for _, closer := range slices.Backward(l.closers) {
				closer()
			}
		}()
		l.build()
		f(t, l.cfg)
	})
}

func (l *lab) build() {
	if l.addrs == nil {
		l.addrs = []string{serverA}
	}
	l.sites, l.tokens = map[netip.AddrPort]net.PacketConn{}, stunsrv.NewTokens(2*time.Minute)
	if l.username == "" {
		l.username = strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10) + ":me"
	}
	lf := logging.NewDefaultLoggerFactory()
	wan := must(vnet.NewRouter(&vnet.RouterConfig{CIDR: "203.0.113.0/24", LoggerFactory: lf, MinDelay: 5 * time.Millisecond}))
	if l.filter != nil {
		wan.AddChunkFilter(l.filter)
	}
	srv := must(vnet.NewNet(&vnet.NetConfig{StaticIPs: l.addrs}))
	ok(wan.AddNet(srv))
	cli := srv
	if !l.onServer {
		cli = l.client(wan, lf)
	}
	ok(wan.Start())
	l.closers = append(l.closers, func() { ok(wan.Stop()) })
	for i, a := range l.addrs {
		for _, port := range []string{"3478", "3479"} {
			at := net.JoinHostPort(a, port)
			if strings.Contains(strings.Join(l.silent, " "), at) {
				continue
			}
			pc := must(srv.ListenPacket("udp4", at))
			l.sites[netip.MustParseAddrPort(at)] = pc
			if i == 0 && port == "3478" && l.answer == nil {
				l.turn(srv, stunsrv.Wrap(pc, l.responder(at)))
			} else {
				l.stuns = append(l.stuns, pc)
				l.closers = append(l.closers, func() { pc.Close() })
			}
		}
	}
	for _, pc := range l.stuns {
		go l.stun(pc)
	}
	api := newPipe(8080)
	hs := &http.Server{Handler: l.api()}
	go hs.Serve(api)
	l.closers = append(l.closers, func() { hs.Close() })
	l.cfg.Host = "server.test"
	l.cfg.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		var out []netip.Addr
		for _, a := range l.addrs {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	}
	l.cfg.ListenPacket = func(_ context.Context, network, addr string) (net.PacketConn, error) {
		return cli.ListenPacket(network, addr)
	}
	inner := l.cfg.DialContext
	l.cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		switch {
		case strings.HasPrefix(network, "udp"):
			return cli.Dial(network, addr)
		case strings.HasSuffix(addr, ":8080") && !l.noHTTP:
			return api.dial()
		case strings.HasSuffix(addr, ":3478") && !l.noTCP && inner != nil:
			return inner(ctx, network, addr)
		}
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
}

// client adds the client's machine, behind the NAT if there is one.
func (l *lab) client(wan *vnet.Router, lf logging.LoggerFactory) *vnet.Net {
	if l.nat == nil {
		n := must(vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{"203.0.113.77"}}))
		ok(wan.AddNet(n))
		return n
	}
	outer := natOuter
	if l.nat.Mode == vnet.NATModeNAT1To1 {
		outer += "/" + client
	}
	lan := must(vnet.NewRouter(&vnet.RouterConfig{CIDR: "192.168.1.0/24", StaticIPs: []string{outer}, NATType: l.nat, LoggerFactory: lf}))
	n := must(vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{client}}))
	ok(lan.AddNet(n))
	ok(wan.AddRouter(lan))
	return n
}

// relays are pion's, but that pion writes the relayed address into that of the
// socket, which others are reading.
type relays struct {
	*turn.RelayAddressGeneratorPortRange
}

func (r relays) AllocatePacketConn(network string, _ int) (net.PacketConn, net.Addr, error) {
	var err error
	for range 100 {
		at := &net.UDPAddr{IP: r.RelayAddress, Port: int(r.MinPort) + rand.IntN(int(r.MaxPort-r.MinPort)+1)}
		var pc net.PacketConn
		if pc, err = r.Net.ListenPacket(network, at.String()); err == nil {
			return pc, at, nil
		}
	}
	return nil, nil, err
}

// turn runs pion's server on UDP and, through a pipe, on TCP.
func (l *lab) turn(srv *vnet.Net, pc net.PacketConn) {
	gen := relays{&turn.RelayAddressGeneratorPortRange{
		RelayAddress: net.ParseIP(l.addrs[0]), Address: l.addrs[0], MinPort: 49160, MaxPort: 49359, Net: srv,
	}}
	tcp := newPipe(3478)
	s := must(turn.NewServer(turn.ServerConfig{
		Realm: "test",
		AuthHandler: func(user, realm string, _ net.Addr) ([]byte, bool) {
			if l.password == nil {
				return turn.GenerateAuthKey(user, realm, "secret"), true
			}
			pw := l.password(user)
			return turn.GenerateAuthKey(user, realm, pw), pw != ""
		},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: pc, RelayAddressGenerator: gen}},
		ListenerConfigs:   []turn.ListenerConfig{{Listener: tcp, RelayAddressGenerator: gen}},
	}))
	l.cfg.DialContext = func(context.Context, string, string) (net.Conn, error) { return tcp.dial() }
	l.closers = append(l.closers, func() { ok(s.Close()) })
}

// stun answers Binding requests until its socket is closed: as turnkey does, or
// as the test says.
func (l *lab) stun(pc net.PacketConn) {
	if l.answer == nil {
		_ = stunsrv.Serve(pc, l.responder(pc.LocalAddr().String()))
		return
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		m := &stun.Message{Raw: slices.Clone(buf[:n])}
		if m.Decode() == nil && m.Type == stun.BindingRequest {
			l.answer(pc, from, m)
		}
	}
}

// responder is turnkey's configuration of one STUN socket.
func (l *lab) responder(at string) stunsrv.Config {
	own := netip.MustParseAddrPort(at)
	return stunsrv.Config{Tokens: l.tokens, Place: func(netip.AddrPort) *stunsrv.Place {
		port, other := uint16(3479), own.Addr()
		if own.Port() == port {
			port = 3478
		}
		for _, a := range l.addrs {
			if a := netip.MustParseAddr(a); a != own.Addr() {
				other = a
			}
		}
		var p stunsrv.Place
		p.Site[0] = own
		set := func(c stunsrv.Change, to netip.AddrPort) {
			if pc := l.sites[to]; pc != nil && to != own {
				p.Site[c], p.Via[c] = to, vnetSender{pc}
			}
		}
		set(stunsrv.ChangePort, netip.AddrPortFrom(own.Addr(), port))
		if other != own.Addr() {
			set(stunsrv.ChangeIP, netip.AddrPortFrom(other, own.Port()))
			set(stunsrv.ChangeIP|stunsrv.ChangePort, netip.AddrPortFrom(other, port))
		}
		return &p
	}}
}

type vnetSender struct{ net.PacketConn }

func (s vnetSender) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	return s.WriteTo(p, net.UDPAddrFromAddrPort(to))
}

// binding is a Binding success response.
func binding(id [12]byte, mapped net.Addr) *stun.Message {
	u := mapped.(*net.UDPAddr)
	return stun.MustBuild(stun.NewTransactionIDSetter(id), stun.BindingSuccess, &stun.XORMappedAddress{IP: u.IP, Port: u.Port})
}

func must[T any](v T, err error) T {
	ok(err)
	return v
}

func ok(err error) {
	if err != nil {
		panic(err)
	}
}
