package turnsrv

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v3"
)

const public = peerAttr("8.8.8.8:53")

// row is one request and the code that it must be answered with, 0 for success.
type row struct {
	name string
	want stun.ErrorCode
	ask  func(w *wire) *stun.Message
}

// call makes the row's request one with right credentials.
func call(method stun.Method, setters ...stun.Setter) func(*wire) *stun.Message {
	return func(w *wire) *stun.Message { return w.challenge().call(method, setters...) }
}

// held is call on a five-tuple that has an allocation.
func held(method stun.Method, setters ...stun.Setter) func(*wire) *stun.Message {
	return func(w *wire) *stun.Message {
		w.challenge().allocate()
		return w.call(method, setters...)
	}
}

// as is call with something wrong about the client.
func as(wrong func(*wire), method stun.Method, setters ...stun.Setter) func(*wire) *stun.Message {
	return func(w *wire) *stun.Message {
		w.challenge()
		wrong(w)
		return w.call(method, setters...)
	}
}

// with is a request with integrity and only some of what goes with it.
func with(method stun.Method, leave int) func(*wire) *stun.Message {
	return func(w *wire) *stun.Message {
		w.challenge()
		setters := append([]stun.Setter{udpTransport}, slices.Delete(w.credentials(), leave, leave+1)...)
		return w.ask(method, append(setters, w.key())...)
	}
}

var methods = []stun.Method{stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind}

func rows(f *fixture) []row {
	another := func(w *wire) { w.username, w.password, _ = f.secrets.Issue("another", time.Now().Add(time.Hour)) }
	list := []row{
		{"no REQUESTED-TRANSPORT", 400, call(stun.MethodAllocate)},
		{"REQUESTED-TRANSPORT too short", 400, call(stun.MethodAllocate, value(stun.AttrRequestedTransport, 17))},
		{"TCP relay", 442, call(stun.MethodAllocate, value(stun.AttrRequestedTransport, 6, 0, 0, 0))},
		{"protocol 0", 442, call(stun.MethodAllocate, value(stun.AttrRequestedTransport, 0, 0, 0, 0))},
		{"Allocate", 0, call(stun.MethodAllocate, udpTransport)},
		{"DONT-FRAGMENT", 420, call(stun.MethodAllocate, udpTransport, value(stun.AttrDontFragment))},
		{"unknown attribute", 420, call(stun.MethodAllocate, udpTransport, value(0x7FFE, 1, 2))},
		{"CHANGE-REQUEST", 420, call(stun.MethodAllocate, udpTransport, value(stun.AttrChangeRequest, 0, 0, 0, 6))},
		{"unknown attribute that may be ignored", 0, call(stun.MethodAllocate, udpTransport, value(0xFFFE, 1))},
		{"IPv4 asked for", 0, call(stun.MethodAllocate, udpTransport, wantIPv4)},
		{"IPv6 where there is none", 440, call(stun.MethodAllocate, udpTransport, wantIPv6)},
		{"another family", 440, call(stun.MethodAllocate, udpTransport, value(stun.AttrRequestedAddressFamily, 3, 0, 0, 0))},
		{"family too short", 400, call(stun.MethodAllocate, udpTransport, value(stun.AttrRequestedAddressFamily, 1))},
		{"family and additional family", 400, call(stun.MethodAllocate, udpTransport, wantIPv4, alsoIPv6)},
		{"additional IPv4", 400, call(stun.MethodAllocate, udpTransport, value(attrAdditionalAddressFamily, familyIPv4, 0, 0, 0))},
		{"additional family too short", 400, call(stun.MethodAllocate, udpTransport, value(attrAdditionalAddressFamily, 2))},
		{"additional IPv6", 0, call(stun.MethodAllocate, udpTransport, alsoIPv6)},
		{"EVEN-PORT", 0, call(stun.MethodAllocate, udpTransport, evenPort)},
		{"EVEN-PORT with the next", 0, call(stun.MethodAllocate, udpTransport, evenPair)},
		{"EVEN-PORT too long", 400, call(stun.MethodAllocate, udpTransport, value(stun.AttrEvenPort, 0, 0, 0, 0))},
		{"pair and additional family", 400, call(stun.MethodAllocate, udpTransport, evenPair, alsoIPv6)},
		{"EVEN-PORT and RESERVATION-TOKEN", 400, call(stun.MethodAllocate, udpTransport, evenPort, value(stun.AttrReservationToken, 1, 2, 3, 4, 5, 6, 7, 8))},
		{"RESERVATION-TOKEN and family", 400, call(stun.MethodAllocate, udpTransport, wantIPv4, value(stun.AttrReservationToken, 1, 2, 3, 4, 5, 6, 7, 8))},
		{"made-up RESERVATION-TOKEN", 508, call(stun.MethodAllocate, udpTransport, value(stun.AttrReservationToken, 1, 2, 3, 4, 5, 6, 7, 8))},
		{"RESERVATION-TOKEN too short", 400, call(stun.MethodAllocate, udpTransport, value(stun.AttrReservationToken, 1))},
		{"LIFETIME too short", 400, call(stun.MethodAllocate, udpTransport, value(stun.AttrLifetime, 1))},
		{"second Allocate", 437, held(stun.MethodAllocate, udpTransport)},
		{"second Allocate of another user", 437, func(w *wire) *stun.Message {
			w.challenge().allocate()
			another(w)
			return w.call(stun.MethodAllocate, udpTransport)
		}},

		{"Refresh", 0, held(stun.MethodRefresh)},
		{"Refresh for a while", 0, held(stun.MethodRefresh, lifetime(700))},
		{"Refresh to the end", 0, held(stun.MethodRefresh, lifetime(0))},
		{"Refresh without allocation", 437, call(stun.MethodRefresh)},
		{"Refresh to the end without allocation", 437, call(stun.MethodRefresh, lifetime(0))},
		{"Refresh of the same family", 0, held(stun.MethodRefresh, wantIPv4)},
		{"Refresh of another family", 443, held(stun.MethodRefresh, wantIPv6)},
		{"Refresh, LIFETIME too short", 400, held(stun.MethodRefresh, value(stun.AttrLifetime, 1))},

		{"CreatePermission", 0, held(stun.MethodCreatePermission, public)},
		{"CreatePermission, port 0", 0, held(stun.MethodCreatePermission, peerAttr("8.8.8.8:0"))},
		{"CreatePermission for two", 0, held(stun.MethodCreatePermission, public, peerAttr("8.8.4.4:1"))},
		{"CreatePermission without allocation", 437, call(stun.MethodCreatePermission, public)},
		{"CreatePermission without peer", 400, held(stun.MethodCreatePermission)},
		{"CreatePermission, peer too short", 400, held(stun.MethodCreatePermission, value(stun.AttrXORPeerAddress, 0, 1, 0, 0))},
		{"CreatePermission, peer of no family", 400, held(stun.MethodCreatePermission, value(stun.AttrXORPeerAddress, 0, 9, 0, 0, 1, 2, 3, 4))},
		{"CreatePermission for IPv6", 443, held(stun.MethodCreatePermission, peerAttr("[2a00:1450::1]:53"))},
		{"CreatePermission for private", 403, held(stun.MethodCreatePermission, peerAttr("10.0.0.1:80"))},
		{"CreatePermission for own service", 403, held(stun.MethodCreatePermission, peerAttr("127.0.0.1:22"))},
		{"CreatePermission, the second denied", 403, held(stun.MethodCreatePermission, public, peerAttr("10.0.0.1:80"))},

		{"ChannelBind", 0, held(stun.MethodChannelBind, channel(0x4000), public)},
		{"ChannelBind of the last", 0, held(stun.MethodChannelBind, channel(0x4FFF), public)},
		{"ChannelBind of the last of RFC 5766", 0, held(stun.MethodChannelBind, channel(0x7FFF), public)},
		{"ChannelBind again", 0, func(w *wire) *stun.Message {
			held(stun.MethodChannelBind, channel(0x4000), public)(w)
			return w.call(stun.MethodChannelBind, channel(0x4000), public)
		}},
		{"ChannelBind without allocation", 437, call(stun.MethodChannelBind, channel(0x4000), public)},
		{"ChannelBind without number", 400, held(stun.MethodChannelBind, public)},
		{"ChannelBind, number too short", 400, held(stun.MethodChannelBind, value(stun.AttrChannelNumber, 0x40), public)},
		{"ChannelBind below the range", 400, held(stun.MethodChannelBind, channel(0x3FFF), public)},
		{"ChannelBind above the range", 400, held(stun.MethodChannelBind, channel(0x8000), public)},
		{"ChannelBind without peer", 400, held(stun.MethodChannelBind, channel(0x4000))},
		{"ChannelBind, peer too short", 400, held(stun.MethodChannelBind, channel(0x4000), value(stun.AttrXORPeerAddress, 0, 1))},
		{"ChannelBind to IPv6", 443, held(stun.MethodChannelBind, channel(0x4000), peerAttr("[2a00:1450::1]:53"))},
		{"ChannelBind to private", 403, held(stun.MethodChannelBind, channel(0x4000), peerAttr("192.168.1.1:80"))},
		{"ChannelBind to own service", 403, held(stun.MethodChannelBind, channel(0x4000), peerAttr("127.0.0.1:22"))},
		{"ChannelBind to port 0", 403, held(stun.MethodChannelBind, channel(0x4000), peerAttr("8.8.8.8:0"))},
		{"ChannelBind of a taken number", 400, func(w *wire) *stun.Message {
			held(stun.MethodChannelBind, channel(0x4000), public)(w)
			return w.call(stun.MethodChannelBind, channel(0x4000), peerAttr("8.8.4.4:53"))
		}},
		{"ChannelBind of a taken peer", 400, func(w *wire) *stun.Message {
			held(stun.MethodChannelBind, channel(0x4000), public)(w)
			return w.call(stun.MethodChannelBind, channel(0x4001), public)
		}},
	}
	for _, method := range methods {
		name := method.String() + ", "
		list = append(list,
			row{name + "no integrity", 401, func(w *wire) *stun.Message { return w.ask(method, udpTransport, public) }},
			row{name + "no integrity, with an allocation", 401, func(w *wire) *stun.Message {
				w.challenge().allocate()
				return w.ask(method, udpTransport, public)
			}},
			row{name + "no USERNAME", 400, with(method, 0)},
			row{name + "no REALM", 400, with(method, 1)},
			row{name + "no NONCE", 400, with(method, 2)},
			row{name + "wrong password", 401, as(func(w *wire) { w.password = "wrong" }, method, udpTransport)},
			row{name + "unknown user", 401, as(func(w *wire) { w.username = "root" }, method, udpTransport)},
			row{name + "long user", 401, as(func(w *wire) { w.username = "1999999999:" + strings.Repeat("x", 400) }, method, udpTransport)},
			row{name + "format in user", 401, as(func(w *wire) { w.username = "1999999999:%s%n\n" }, method, udpTransport)},
			row{name + "another realm", 401, as(func(w *wire) { w.realm = "elsewhere" }, method, udpTransport)},
			row{name + "expired", 401, as(func(w *wire) { w.username, w.password = f.credential(w.t, -time.Second) }, method, udpTransport)},
			row{name + "made-up nonce", 438, as(func(w *wire) { w.nonce = "made-up" }, method, udpTransport)},
			row{name + "empty nonce", 438, as(func(w *wire) { w.nonce = "" }, method, udpTransport)},
			row{name + "made-up nonce, with an allocation", 438, func(w *wire) *stun.Message {
				w.challenge().allocate()
				w.nonce = "made-up"
				return w.call(method, udpTransport, public)
			}},
		)
		if method != stun.MethodAllocate {
			list = append(list, row{name + "another user's allocation", 441, func(w *wire) *stun.Message {
				w.challenge().allocate()
				another(w)
				return w.call(method, channel(0x4000), public)
			}})
		}
	}
	return list
}

// TestStrictRequests sends every row over UDP and TCP. An error before
// authentication carries REALM and NONCE where credentials are asked for, one
// after it MESSAGE-INTEGRITY.
func TestStrictRequests(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			f := start(t, nil)
			for _, tt := range rows(f) {
				w := f.wire(t, network)
				m := tt.ask(w)
				if got := code(m); got != tt.want || m.Type.Class == stun.ClassErrorResponse && got == 0 {
					t.Errorf("%s: got %d (%v), want %d", tt.name, got, m.Type, tt.want)
				}
				checkForm(t, tt.name, w, m)
				if network == "tcp" { // of UDP sockets another one could get the port while the allocation lives
					w.Close()
				}
			}
			t.Logf("%d rows over %s", len(rows(f)), network)
		})
	}
}

func checkForm(t *testing.T, name string, w *wire, m *stun.Message) {
	t.Helper()
	challenge := code(m) == 401 || code(m) == 438
	if got := m.Contains(stun.AttrNonce) && m.Contains(stun.AttrRealm); got != challenge {
		t.Errorf("%s: REALM and NONCE there: got %v, want %v", name, got, challenge)
	}
	integrity := m.Contains(stun.AttrMessageIntegrity)
	missing := strings.Contains(name, ", no ")
	if integrity == (challenge || missing) {
		t.Errorf("%s: MESSAGE-INTEGRITY there: got %v, want %v", name, integrity, !integrity)
	}
	if integrity {
		if err := w.key().Check(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if code(m) == 420 && !m.Contains(stun.AttrUnknownAttributes) {
		t.Errorf("%s: no UNKNOWN-ATTRIBUTES", name)
	}
}

func TestUnknownAttributesAreListed(t *testing.T) {
	f := start(t, nil)
	m := f.wire(t, "udp").challenge().call(stun.MethodAllocate, udpTransport, value(0x7FFE), value(stun.AttrDontFragment), value(0x7FFE))
	var got stun.UnknownAttributes
	if err := got.GetFrom(m); err != nil || !slices.Equal(got, stun.UnknownAttributes{0x7FFE, stun.AttrDontFragment}) {
		t.Errorf("got %v %v, want 0x7FFE and DONT-FRAGMENT, each once", got, err)
	}
}

// What follows MESSAGE-INTEGRITY does not count: here it would end the allocation.
func TestAttributesAfterIntegrityDoNotCount(t *testing.T) {
	f := start(t, nil)
	w := f.wire(t, "udp").challenge()
	w.allocate()
	setters := append(w.credentials(), w.key(), lifetime(0), value(0x7FFE))
	if m := w.ask(stun.MethodRefresh, setters...); code(m) != 0 {
		t.Errorf("got %d, want success", code(m))
	}
	if n := len(f.Sessions()); n != 1 {
		t.Errorf("got %d sessions, want the allocation alive", n)
	}
}

func TestRepeatedAllocateIsAnsweredAlike(t *testing.T) {
	f := start(t, nil)
	w := f.wire(t, "udp").challenge()
	m := w.build(stun.NewType(stun.MethodAllocate, stun.ClassRequest), append(append([]stun.Setter{udpTransport}, w.credentials()...), w.key())...)
	w.send(m.Raw)
	first := w.receive(m.TransactionID)
	w.send(m.Raw)
	if again := w.receive(m.TransactionID); !bytes.Equal(first.Raw, again.Raw) {
		t.Errorf("got %v, want %v", again, first)
	}
	if n := len(f.Sessions()); n != 1 {
		t.Errorf("got %d sessions, want 1", n)
	}
}

// One denied peer among several: none of them is let in.
func TestPermissionsAreAllOrNothing(t *testing.T) {
	f := start(t, func(c *Config) { allowLoopback(c) })
	peer := echo(t)
	w := f.wire(t, "udp").challenge()
	w.allocate()
	good := peerAttr(peer.LocalAddr().String())
	if m := w.call(stun.MethodCreatePermission, good, peerAttr("10.0.0.1:80")); code(m) != 403 {
		t.Fatalf("got %d, want 403", code(m))
	}
	w.send(w.build(stun.NewType(stun.MethodSend, stun.ClassIndication), good, value(stun.AttrData, 1, 2, 3, 4)).Raw)
	if m := w.call(stun.MethodRefresh); code(m) != 0 { // handled after the indication
		t.Fatalf("got %d", code(m))
	}
	if got := f.Sessions()[0].PacketsOut; got != 0 {
		t.Errorf("got %d packets relayed without a permission", got)
	}
}

func TestEvenPortAndReservation(t *testing.T) {
	f := start(t, nil)
	m := f.wire(t, "udp").challenge().call(stun.MethodAllocate, udpTransport, evenPort)
	if port := relayed(t, m).Port(); port%2 != 0 || m.Contains(stun.AttrReservationToken) {
		t.Errorf("EVEN-PORT: got port %d, token %v, want an even port and no token", port, m.Contains(stun.AttrReservationToken))
	}
	m = f.wire(t, "udp").challenge().call(stun.MethodAllocate, udpTransport, evenPair)
	first := relayed(t, m)
	token, err := m.Get(stun.AttrReservationToken)
	if err != nil || len(token) != 8 || first.Port()%2 != 0 {
		t.Fatalf("EVEN-PORT with the next: got port %d, token %x %v", first.Port(), token, err)
	}
	w := f.wire(t, "tcp").challenge()
	m = w.call(stun.MethodAllocate, udpTransport, value(stun.AttrReservationToken, token...))
	if got := relayed(t, m); got.Port() != first.Port()+1 {
		t.Errorf("RESERVATION-TOKEN: got port %d, want %d", got.Port(), first.Port()+1)
	}
	if err := w.key().Check(m); err != nil {
		t.Error(err)
	}
	m = f.wire(t, "udp").challenge().call(stun.MethodAllocate, udpTransport, value(stun.AttrReservationToken, token...))
	if code(m) != 508 {
		t.Errorf("the token again: got %d, want 508", code(m))
	}
}

func TestReservationsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reservations
		var released atomic.Int32
		token := r.add(familyIPv4, 50001, func() {}, func() { released.Add(1) })
		time.Sleep(reservationLife - time.Second)
		if r.find(token) == nil {
			t.Error("gone too early")
		}
		time.Sleep(2 * time.Second)
		if r.find(token) != nil || released.Load() != 1 {
			t.Errorf("still there after %v, released %d times, want once", reservationLife, released.Load())
		}
	})
}

func TestAdditionalFamilyIsAnswered(t *testing.T) {
	f := start(t, nil)
	w := f.wire(t, "udp").challenge()
	m := w.call(stun.MethodAllocate, udpTransport, alsoIPv6)
	v, err := m.Get(attrAddressErrorCode)
	if err != nil || !bytes.Equal(v, []byte{familyIPv6, 0, 4, 40}) {
		t.Errorf("got %x %v, want ADDRESS-ERROR-CODE 440 for IPv6", v, err)
	}
	if err := w.key().Check(m); err != nil {
		t.Error(err)
	}
}

func TestNoncesEndWithinTheHour(t *testing.T) {
	var n nonces
	start := time.Now()
	n.saw([]byte("first"), start)
	for minute := range 200 {
		n.saw([]byte{byte(minute)}, start.Add(time.Duration(minute)*time.Minute))
	}
	if n.good([]byte("first"), start.Add(nonceLife)) {
		t.Error("a nonce of an hour ago is good")
	}
	if !n.good([]byte{199}, start.Add(200*time.Minute)) {
		t.Error("a nonce of a minute ago is not good")
	}
	if got := len(n.issued); got > 61 {
		t.Errorf("got %d nonces kept, want at most 61", got)
	}
}

// Messages of other kinds are not answered and harm nobody.
func TestOtherMessagesAreDropped(t *testing.T) {
	f := start(t, nil)
	w := f.wire(t, "udp").challenge()
	for _, typ := range []stun.MessageType{
		stun.NewType(stun.MethodBinding, stun.ClassRequest), // no Config.STUN here
		stun.NewType(stun.MethodConnect, stun.ClassRequest),
		stun.NewType(stun.MethodConnectionBind, stun.ClassRequest),
		stun.NewType(0xFFF, stun.ClassRequest),
		stun.NewType(stun.MethodAllocate, stun.ClassSuccessResponse),
		stun.NewType(stun.MethodAllocate, stun.ClassIndication),
		stun.NewType(stun.MethodData, stun.ClassIndication),
	} {
		w.send(w.build(typ, udpTransport).Raw)
	}
	for _, b := range [][]byte{{}, {0}, {0x40, 0, 0, 4}, {0x40, 0, 0xFF, 0xFF, 1}, bytes.Repeat([]byte{0xFF}, 1400), append(w.build(stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw, 0, 0, 0, 0)} {
		w.send(b)
	}
	m := w.build(stun.NewType(stun.MethodAllocate, stun.ClassRequest))
	w.send(m.Raw)
	b, err := w.frame(5 * time.Second)
	if err != nil || !bytes.Equal(b[8:20], m.TransactionID[:]) {
		t.Errorf("got %x %v, want only the answer to the last request", b, err)
	}
}

func TestIPv6Relay(t *testing.T) {
	f := start(t, func(c *Config) {
		c.IPv6 = &Relays{Advertise: netip.IPv6Loopback, Listen: func(port uint16) (net.PacketConn, error) {
			return net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback, Port: int(port)})
		}}
		c.Peers.Allow = []PeerRule{{Prefix: netip.MustParsePrefix("::1/128")}}
	})
	peer, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	at := peerAttr(peer.LocalAddr().String())
	w := f.wire(t, "udp").challenge()
	relay := w.allocate(wantIPv6)
	if relay.Addr() != netip.IPv6Loopback() {
		t.Fatalf("got relay %v, want one on ::1", relay)
	}
	if m := w.call(stun.MethodCreatePermission, public); code(m) != 443 {
		t.Errorf("an IPv4 peer: got %d, want 443", code(m))
	}
	if m := w.call(stun.MethodRefresh, wantIPv4); code(m) != 443 {
		t.Errorf("a refresh as IPv4: got %d, want 443", code(m))
	}
	if m := w.call(stun.MethodChannelBind, channel(0x4000), at); code(m) != 0 {
		t.Fatalf("ChannelBind: got %d", code(m))
	}
	w.send([]byte{0x40, 0, 0, 5, 'h', 'e', 'l', 'l', 'o'})
	b := make([]byte, 100)
	_ = peer.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := peer.ReadFromUDPAddrPort(b)
	if err != nil || string(b[:n]) != "hello" || from != relay {
		t.Fatalf("got %q from %v, %v, want hello from %v", b[:n], from, err, relay)
	}
	if _, err := peer.WriteToUDPAddrPort([]byte("back"), relay); err != nil {
		t.Fatal(err)
	}
	if got, err := w.frame(5 * time.Second); err != nil || !bytes.Equal(got, []byte{0x40, 0, 0, 4, 'b', 'a', 'c', 'k'}) {
		t.Errorf("got %x %v, want ChannelData", got, err)
	}
	if m := f.wire(t, "tcp").challenge().call(stun.MethodAllocate, udpTransport); relayed(t, m).Addr() != loopback {
		t.Errorf("no family asked for: got %v, want IPv4", relayed(t, m))
	}
}
