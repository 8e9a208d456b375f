package turnsrv

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// wire is a client that sends what it is told, right or wrong.
type wire struct {
	net.Conn
	t        testing.TB
	username string
	password string
	realm    string
	nonce    string
}

func (f *fixture) wire(t testing.TB, network string) *wire {
	t.Helper()
	at := f.udp
	if network == "tcp" {
		at = f.tcp
	}
	conn, err := net.Dial(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w := &wire{Conn: conn, t: t, realm: DefaultRealm}
	w.username, w.password = f.credential(t, time.Hour)
	return w
}

func (w *wire) key() stun.MessageIntegrity {
	return stun.NewLongTermIntegrity(w.username, DefaultRealm, w.password)
}

// challenge gets a nonce.
func (w *wire) challenge() *wire {
	w.t.Helper()
	m := w.ask(stun.MethodAllocate)
	nonce, err := m.Get(stun.AttrNonce)
	if err != nil {
		w.t.Fatalf("no nonce in %v", m)
	}
	w.nonce = string(nonce)
	return w
}

// ask sends a request of just these attributes and returns the response.
func (w *wire) ask(method stun.Method, setters ...stun.Setter) *stun.Message {
	w.t.Helper()
	m := w.build(stun.NewType(method, stun.ClassRequest), setters...)
	w.send(m.Raw)
	return w.receive(m.TransactionID)
}

// call is ask with credentials.
func (w *wire) call(method stun.Method, setters ...stun.Setter) *stun.Message {
	w.t.Helper()
	return w.ask(method, append(append(setters[:len(setters):len(setters)], w.credentials()...), w.key())...)
}

func (w *wire) credentials() []stun.Setter {
	return []stun.Setter{stun.NewUsername(w.username), stun.NewRealm(w.realm), stun.NewNonce(w.nonce)}
}

func (w *wire) build(typ stun.MessageType, setters ...stun.Setter) *stun.Message {
	w.t.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID, typ}, setters...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *wire) send(b []byte) {
	w.t.Helper()
	if _, err := w.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

// receive returns the response to a request. It fails if there is none.
func (w *wire) receive(id [stun.TransactionIDSize]byte) *stun.Message {
	w.t.Helper()
	for {
		b, err := w.frame(5 * time.Second)
		if err != nil {
			w.t.Fatalf("no response: %v", err)
		}
		if isChannelData(b) {
			continue
		}
		m := &stun.Message{Raw: b}
		if err := m.Decode(); err != nil {
			w.t.Fatalf("%x: %v", b, err)
		}
		if m.TransactionID == id {
			return m
		}
	}
}

// frame returns the next message of any kind.
func (w *wire) frame(wait time.Duration) ([]byte, error) {
	_ = w.SetReadDeadline(time.Now().Add(wait))
	b := make([]byte, 2000)
	if _, stream := w.Conn.(*net.TCPConn); !stream {
		n, err := w.Read(b)
		return b[:n], err
	}
	if _, err := io.ReadFull(w, b[:4]); err != nil {
		return nil, err
	}
	size, err := frameSize(b[:4])
	if err != nil {
		return nil, err
	}
	_, err = io.ReadFull(w, b[4:size])
	return b[:size], err
}

// allocate makes an allocation and returns its relayed transport address.
func (w *wire) allocate(setters ...stun.Setter) netip.AddrPort {
	w.t.Helper()
	m := w.call(stun.MethodAllocate, append([]stun.Setter{udpTransport}, setters...)...)
	if m.Type.Class != stun.ClassSuccessResponse {
		w.t.Fatalf("Allocate: got %v", code(m))
	}
	return relayed(w.t, m)
}

func relayed(t testing.TB, m *stun.Message) netip.AddrPort {
	t.Helper()
	var a stun.XORMappedAddress
	if err := a.GetFromAs(m, stun.AttrXORRelayedAddress); err != nil {
		t.Fatal(err)
	}
	addr, _ := netip.AddrFromSlice(a.IP)
	return netip.AddrPortFrom(addr, uint16(a.Port))
}

// code returns the error code of a response, 0 for a success.
func code(m *stun.Message) stun.ErrorCode {
	var e stun.ErrorCodeAttribute
	if m.Type.Class == stun.ClassSuccessResponse || e.GetFrom(m) != nil {
		return 0
	}
	return e.Code
}

// value is an attribute with just these bytes.
func value(t stun.AttrType, b ...byte) stun.Setter { return stun.RawAttribute{Type: t, Value: b} }

// peerAttr is an XOR-PEER-ADDRESS.
type peerAttr string

func (p peerAttr) AddTo(m *stun.Message) error {
	a := netip.MustParseAddrPort(string(p))
	return stun.XORMappedAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}.AddToAs(m, stun.AttrXORPeerAddress)
}

func channel(n uint16) stun.Setter {
	return value(stun.AttrChannelNumber, byte(n>>8), byte(n), 0, 0)
}

func lifetime(seconds uint32) stun.Setter {
	return value(stun.AttrLifetime, byte(seconds>>24), byte(seconds>>16), byte(seconds>>8), byte(seconds))
}

var (
	udpTransport = value(stun.AttrRequestedTransport, 17, 0, 0, 0)
	wantIPv4     = value(stun.AttrRequestedAddressFamily, familyIPv4, 0, 0, 0)
	wantIPv6     = value(stun.AttrRequestedAddressFamily, familyIPv6, 0, 0, 0)
	alsoIPv6     = value(attrAdditionalAddressFamily, familyIPv6, 0, 0, 0)
	evenPort     = value(stun.AttrEvenPort, 0)
	evenPair     = value(stun.AttrEvenPort, 0x80)
)
