package turnsrv

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pion/stun/v3"
)

var (
	stranger = netip.MustParseAddrPort("192.0.2.1:1000") // a client without an allocation
	friend   = netip.MustParseAddrPort("8.8.8.8:53")     // the only peer that may be reached
)

// settle makes sure that the client resident has an allocation. One whose
// allocation has ended is followed by another client.
func (m *memory) settle(w *wire, resident netip.AddrPort) netip.AddrPort {
	m.t.Helper()
	if m.endpoints[1].gate.session(resident) == nil {
		resident = m.newcomer()
		if got := code(m.call(w, resident, stun.MethodAllocate, udpTransport)); got != 0 {
			m.t.Fatalf("Allocate: got %d", got)
		}
	}
	if got := code(m.call(w, resident, stun.MethodRefresh, lifetime(3000))); got != 0 {
		m.t.Fatalf("Refresh: got %d", got)
	}
	return resident
}

// newcomer returns a client that was not there before.
func (m *memory) newcomer() netip.AddrPort {
	m.clients++
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(m.clients >> 18), byte(m.clients >> 10)}), uint16(m.clients&1023)+1024)
}

// FuzzGate sends any datagram, from a client with an allocation and from one
// without. Without credentials nobody gets more than one answer, which is
// proper and not long, or changes anything.
func FuzzGate(f *testing.F) {
	m := inMemory(f, nil)
	w := m.signer()
	resident := m.settle(w, netip.AddrPort{})
	if got := code(m.call(w, resident, stun.MethodChannelBind, channel(0x4000), peerAttr(friend.String()))); got != 0 {
		f.Fatalf("ChannelBind: got %d", got)
	}
	for _, known := range []bool{false, true} {
		for _, b := range corpusOfGate(w) {
			f.Add(b, known)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, known bool) {
		m.t = t
		from := stranger
		if known {
			from = resident
		}
		answers := m.exchange(b, from)
		if len(answers) > 1 {
			t.Errorf("%x: got %d answers, want one at most", b, len(answers))
		}
		for _, d := range answers {
			if code(m.answer(b, from, d)) == 0 {
				t.Errorf("%x: got success without credentials", b)
			}
			if len(d.b) > 100 {
				t.Errorf("%x: got an answer of %d bytes, want 100 at most", b, len(d.b))
			}
		}
		for _, to := range m.relayed() {
			if to.Addr() != friend.Addr() || !known {
				t.Errorf("%x from %v: got something sent to %v", b, from, to)
			}
		}
		if n := len(m.Sessions()); n != 1 {
			t.Fatalf("%x: got %d sessions, want the one that was there", b, n)
		}
	})
}

func corpusOfGate(w *wire) (corpus [][]byte) {
	for _, method := range methods {
		typ := stun.NewType(method, stun.ClassRequest)
		corpus = append(corpus, w.build(typ, udpTransport).Raw, w.build(typ, append(w.credentials(), stun.NewShortTermIntegrity("wrong"))...).Raw,
			w.build(typ, value(stun.AttrMessageIntegrity, make([]byte, 20)...)).Raw)
	}
	send := stun.NewType(stun.MethodSend, stun.ClassIndication)
	return append(corpus, w.build(send, peerAttr(friend.String()), value(stun.AttrData, 1, 2, 3)).Raw,
		w.build(send, peerAttr("127.0.0.1:22"), value(stun.AttrData, 1)).Raw, w.build(send, peerAttr("8.8.4.4:53"), value(stun.AttrData, 1)).Raw,
		[]byte{0x40, 0, 0, 3, 1, 2, 3}, []byte{0x40, 0, 0xFF, 0xFF, 1}, []byte{0x40}, nil, make([]byte, 20),
		[]byte{0x00, 0x03, 0xFF, 0xEC, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
}

// attributes that FuzzSigned makes of one byte; of others it takes two.
var attributes = []stun.AttrType{
	stun.AttrLifetime, stun.AttrRequestedTransport, stun.AttrRequestedAddressFamily, attrAdditionalAddressFamily, stun.AttrEvenPort,
	stun.AttrReservationToken, stun.AttrXORPeerAddress, stun.AttrChannelNumber, stun.AttrData, stun.AttrDontFragment,
	stun.AttrUsername, stun.AttrRealm, stun.AttrNonce, stun.AttrMessageIntegrity, attrIntegritySHA256, stun.AttrFingerprint,
}

// appendAttributes reads attributes as (kind, length, value) from b.
func appendAttributes(m *stun.Message, b []byte) (credentials bool) {
	for len(b) >= 2 && len(m.Raw) < 1000 {
		t := stun.AttrType(b[0])<<8 | stun.AttrType(b[1])
		if int(b[0]) < len(attributes) {
			t = attributes[b[0]]
		}
		n := min(int(b[1])%64, len(b)-2)
		m.Add(t, b[2:2+n])
		b = b[2+n:]
		switch t {
		case stun.AttrUsername, stun.AttrRealm, stun.AttrNonce, stun.AttrMessageIntegrity:
			credentials = true
		}
	}
	return credentials
}

// FuzzSigned sends requests of which only the credentials are right. Each has
// one answer with integrity, whatever is in it; what follows its integrity
// changes nothing; and no denied peer is ever sent anything.
func FuzzSigned(f *testing.F) {
	m := inMemory(f, nil)
	w := m.signer()
	seed := func(method byte, known bool, attributes string, tail string) {
		f.Add(method, known, []byte(attributes), []byte(tail))
	}
	seed(0, false, "\x01\x04\x11\x00\x00\x00", "")
	seed(0, false, "\x01\x04\x11\x00\x00\x00\x04\x01\x80", "")
	seed(0, false, "\x01\x04\x11\x00\x00\x00\x02\x04\x02\x00\x00\x00", "\x00\x04\x00\x00\x00\x00")
	seed(0, true, "\x01\x04\x11\x00\x00\x00\x05\x0812345678", "")
	seed(1, true, "\x00\x04\x00\x00\x00\x00", "")
	seed(1, true, "\x00\x04\x00\x00\x02\x58", "\x00\x04\x00\x00\x00\x00")
	seed(2, true, "\x06\x08\x00\x01\x21\x27\x29\x1a\xac\x4a", "") // 8.8.8.8:53
	seed(2, true, "\x06\x08\x00\x01\x21\x27\x5e\x12\xa4\x43", "") // 127.0.0.1:53
	seed(3, true, "\x07\x04\x40\x00\x00\x00\x06\x08\x00\x01\x21\x27\x29\x1a\xac\x4a", "\x06\x08\x00\x01\x21\x27\x5e\x12\xa4\x43")
	seed(3, false, "\x0d\x10", "")
	var resident netip.AddrPort
	f.Fuzz(func(t *testing.T, method byte, known bool, attributes, tail []byte) {
		m.t, w.t = t, t
		resident = m.settle(w, resident)
		stranger := m.newcomer()
		from, asked := stranger, methods[int(method)%len(methods)]
		if known {
			from = resident
		}
		plain := w.build(stun.NewType(asked, stun.ClassRequest))
		foreign := appendAttributes(plain, attributes)
		if plain.Contains(stun.AttrFingerprint) { // signing refuses to put it before MESSAGE-INTEGRITY
			return
		}
		for _, s := range append(w.credentials(), w.key()) {
			if err := s.AddTo(plain); err != nil {
				t.Fatal(err)
			}
		}
		tailed := &stun.Message{Raw: bytes.Clone(plain.Raw), Length: plain.Length}
		appendAttributes(tailed, tail)

		ports := m.Stats().FreePortsIPv4
		first := m.judged(w, tailed.Raw, from, foreign)
		if known && asked != stun.MethodRefresh && first != m.judged(w, plain.Raw, from, foreign) {
			t.Errorf("%x: the code depends on what follows MESSAGE-INTEGRITY", tailed.Raw)
		}
		if s := m.endpoints[1].gate.session(stranger); s != nil {
			if first != 0 || asked != stun.MethodAllocate || s.Username != w.username {
				t.Errorf("%x: got a session of %q by %v, code %d", tailed.Raw, s.Username, asked, first)
			}
			if got := code(m.call(w, stranger, stun.MethodRefresh, lifetime(0))); got != 0 {
				t.Fatalf("Refresh: got %d", got)
			}
		}
		m.dropReservations()
		for _, to := range m.relayed() {
			t.Errorf("%x: got something sent to %v", tailed.Raw, to)
		}
		resident = m.settle(w, resident)
		if got := m.Stats().FreePortsIPv4; got != ports || len(m.Sessions()) != 1 {
			t.Errorf("%x: got %d free ports and %d sessions, want %d and 1", tailed.Raw, got, len(m.Sessions()), ports)
		}
	})
}

// judged returns the code that a request is answered with. A request is foreign
// if it has other credentials, too.
func (m *memory) judged(w *wire, b []byte, from netip.AddrPort, foreign bool) stun.ErrorCode {
	m.t.Helper()
	answers := m.exchange(b, from)
	if len(answers) != 1 && !(foreign && len(answers) == 0) {
		m.t.Fatalf("%x: got %d answers, want 1", b, len(answers))
	}
	if len(answers) == 0 {
		return -1
	}
	answer := m.answer(b, from, answers[0])
	if err := w.key().Check(answer); err != nil && !foreign {
		m.t.Errorf("%x: got the answer %v, code %d, integrity: %v", b, answer, code(answer), err)
	}
	return code(answer)
}

// FuzzStream reads any bytes as a stream, in pieces of any size. Its frames are
// those that a plain reading of the RFC finds.
func FuzzStream(f *testing.F) {
	for _, b := range [][]byte{
		allocate, append(bytes.Clone(allocate), 0x40, 0, 0, 1, 9, 0, 0, 0), append(bytes.Clone(allocate), 0x40, 0, 0xFF, 0xFC, 0),
		{0x00, 0x01, 0xFF, 0xEC, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {0x40, 0, 0xFF, 0xFC, 0, 0, 0, 0, 0},
		[]byte("GET / HTTP/1.1\r\n\r\n"), {22, 3, 1, 0, 200}, make([]byte, 20),
	} {
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, drip bool) {
		var source io.Reader = bytes.NewReader(b)
		if drip {
			source = iotest.OneByteReader(source)
		}
		s := &streams{frames: make(chan frame, len(b)/channelDataHeader+1), done: make(chan struct{})}
		if err := s.read(&stream{Conn: fakeConn{Reader: source}}); err == nil {
			t.Fatalf("%x: reading ended without an error", b)
		}
		close(s.frames)
		var got [][]byte
		for v := range s.frames {
			got = append(got, bytes.Clone(v.buf[:v.size]))
			frameBuffers.Put(v.buf)
		}
		if want := framesOf(b); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%x: got frames %x, want %x", b, got, want)
		}
	})
}

// framesOf splits b as RFC 8489 section 5 and RFC 8656 section 12.5 say, up to
// what a server does not accept.
func framesOf(b []byte) (frames [][]byte) {
	for len(b) >= 4 {
		length := uint64(binary.BigEndian.Uint16(b[2:]))
		size := 20 + length
		switch b[0] & 0xC0 {
		case 0x00:
			if length%4 != 0 || len(b) < 8 || binary.BigEndian.Uint32(b[4:]) != 0x2112A442 {
				return frames
			}
		case 0x40:
			if size = 4 + length; size%4 != 0 {
				size += 4 - size%4
			}
			if len(frames) == 0 {
				return frames
			}
		default:
			return frames
		}
		if size > 1596 || size > uint64(len(b)) {
			return frames
		}
		frames, b = append(frames, b[:size]), b[size:]
	}
	return frames
}

// fakeConn is a connection that is read from a reader.
type fakeConn struct {
	io.Reader
	net.Conn
}

func (c fakeConn) Read(p []byte) (int, error)      { return c.Reader.Read(p) }
func (c fakeConn) SetReadDeadline(time.Time) error { return nil }

// FuzzPeer asks for any address. An address that carries a denied one is denied
// itself, even where its own prefix is allowed.
func FuzzPeer(f *testing.F) {
	everySix := &Peers{Allow: []PeerRule{{Prefix: netip.MustParsePrefix("::/0")}}}
	strict := &Peers{}
	for _, s := range []string{"::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1", "2001:0:1:2:3:4:80ff:fffe", "::7f00:1", "::", "8.8.8.8", "0.0.0.0"} {
		f.Add(netip.MustParseAddr(s).AsSlice())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		for _, carried := range carriedBy(a) {
			if strict.Send(netip.AddrPortFrom(carried, 80)) == "" {
				continue
			}
			for _, p := range []*Peers{everySix, strict} {
				if p.Send(netip.AddrPortFrom(a, 80)) == "" || p.Permission(netip.AddrPortFrom(a, 0)) == "" {
					t.Errorf("%v carries %v, which is denied, and is permitted", a, carried)
				}
			}
		}
		if ip := net.IP(b); strict.Permission(netip.AddrPortFrom(a, 0)) == "" && !ip.IsGlobalUnicast() {
			t.Errorf("%v is permitted and not global", a)
		}
		if ip := net.IP(b); ip.IsPrivate() && strict.Permission(netip.AddrPortFrom(a, 0)) == "" {
			t.Errorf("%v is permitted and private", a)
		}
	})
}

// carriedBy lists the IPv4 addresses that a system or a gateway could take an
// IPv6 address for.
func carriedBy(a netip.Addr) (carried []netip.Addr) {
	if a.Is4() {
		return nil
	}
	b := a.As16()
	four := func(b []byte) netip.Addr { v, _ := netip.AddrFromSlice(b); return v }
	switch {
	case a.Is4In6():
		carried = append(carried, four(b[12:]))
	case bytes.HasPrefix(b[:], []byte{0x20, 0x02}): // 6to4
		carried = append(carried, four(b[2:6]))
	case bytes.HasPrefix(b[:], []byte{0x20, 0x01, 0, 0}): // Teredo
		carried = append(carried, four([]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	case bytes.HasPrefix(b[:], []byte{0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0}): // NAT64
		carried = append(carried, four(b[12:]))
	}
	return carried
}
