package stunsrv

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/stun/v3"
)

var client = netip.MustParseAddrPort("203.0.113.7:40000")

// build makes a message with pion's encoder, which is not the one under test.
func build(t testing.TB, setters ...stun.Setter) []byte {
	t.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID}, setters...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

func raw(attr stun.AttrType, size int) stun.RawAttribute {
	return stun.RawAttribute{Type: attr, Value: make([]byte, size)}
}

func TestRespondTellsTheSourceAddress(t *testing.T) {
	for _, from := range []string{"203.0.113.7:40000", "[2001:db8::7]:1", "[::ffff:203.0.113.7]:65535"} {
		for _, fingerprint := range []bool{false, true} {
			addr := netip.MustParseAddrPort(from)
			setters := []stun.Setter{stun.BindingRequest}
			if fingerprint {
				setters = append(setters, stun.Fingerprint)
			}
			request := build(t, setters...)
			m := &stun.Message{Raw: Respond(nil, request, addr, &Site{}, nil).Message}
			if err := m.Decode(); err != nil {
				t.Fatalf("%s: %v", from, err)
			}
			var got stun.XORMappedAddress
			if err := got.GetFrom(m); err != nil {
				t.Fatalf("%s: %v", from, err)
			}
			if got.Port != int(addr.Port()) || !got.IP.Equal(addr.Addr().AsSlice()) {
				t.Errorf("got %v, want %v", got, addr)
			}
			if m.Type != stun.BindingSuccess || string(m.TransactionID[:]) != string(request[8:20]) {
				t.Errorf("%s: got %v %x, want a success for %x", from, m.Type, m.TransactionID, request[8:20])
			}
			err := stun.Fingerprint.Check(m)
			if fingerprint && err != nil || !fingerprint && m.Contains(stun.AttrFingerprint) {
				t.Errorf("%s: fingerprint asked for: %v, got %v", from, fingerprint, err)
			}
		}
	}
}

func TestRespondRefusesWhatItDoesNotKnow(t *testing.T) {
	many := []stun.Setter{stun.BindingRequest}
	for i := range maxUnknown + 5 {
		many = append(many, raw(stun.AttrType(0x1000+i), 0))
	}
	for name, tt := range map[string]struct {
		request []stun.Setter
		want    []stun.AttrType
	}{
		"CHANGE-REQUEST": {[]stun.Setter{stun.BindingRequest, raw(stun.AttrChangeRequest, 4)}, []stun.AttrType{stun.AttrChangeRequest}},
		"two":            {[]stun.Setter{stun.BindingRequest, raw(0x0030, 3), raw(0x7FFF, 0)}, []stun.AttrType{0x0030, 0x7FFF}},
		"more than fit":  {many, nil},
	} {
		m := &stun.Message{Raw: Respond(nil, build(t, tt.request...), client, &Site{}, nil).Message}
		if err := m.Decode(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var code stun.ErrorCodeAttribute
		if err := code.GetFrom(m); err != nil || code.Code != stun.CodeUnknownAttribute || m.Type != stun.BindingError {
			t.Errorf("%s: got %v %v %v, want 420", name, m.Type, code, err)
		}
		var unknown stun.UnknownAttributes
		if err := unknown.GetFrom(m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, want := range tt.want {
			if i >= len(unknown) || unknown[i] != want {
				t.Errorf("%s: got %v, want %v", name, unknown, tt.want)
			}
		}
		if len(m.Raw) > MaxResponse {
			t.Errorf("%s: got %d bytes, above MaxResponse", name, len(m.Raw))
		}
	}
}

func TestRespondIgnoresWhatIsNotItsOwn(t *testing.T) {
	good := build(t, stun.BindingRequest)
	badCookie := build(t, stun.NewType(stun.MethodBinding, stun.ClassIndication))
	badCookie[4] ^= 1
	badLength := append([]byte(nil), good...)
	badLength[3] = 4
	badFingerprint := build(t, stun.BindingRequest, stun.Fingerprint)
	badFingerprint[len(badFingerprint)-1] ^= 1
	early := build(t, stun.BindingRequest, raw(stun.AttrFingerprint, 4), raw(stun.AttrSoftware, 4))
	binary.BigEndian.PutUint32(early[24:], crc32.ChecksumIEEE(early[:20])^fingerprintXOR)
	for name, b := range map[string][]byte{
		"empty":                     {},
		"short":                     good[:19],
		"indication without cookie": badCookie,
		"length beyond the end":     badLength,
		"trailing bytes":            append(append([]byte(nil), good...), 0, 0, 0, 0),
		"attribute beyond the end":  append(append([]byte(nil), good[:2]...), append([]byte{0, 4}, append(append([]byte(nil), good[4:]...), 0x80, 0x22, 0xFF, 0xFF)...)...),
		"wrong FINGERPRINT":         badFingerprint,
		"FINGERPRINT not last":      early,
		"indication":                build(t, stun.NewType(stun.MethodBinding, stun.ClassIndication)),
		"success":                   build(t, stun.BindingSuccess),
		"Allocate":                  build(t, stun.NewType(stun.MethodAllocate, stun.ClassRequest)),
	} {
		if got := Respond(nil, b, client, &Site{}, nil).Message; got != nil {
			t.Errorf("%s: answered with %x", name, got)
		}
	}
	if got := Respond(nil, good, netip.AddrPort{}, &Site{}, nil).Message; got != nil {
		t.Errorf("no address to answer to: answered with %x", got)
	}
}

// What follows MESSAGE-INTEGRITY must not count, RFC 8489 section 14.5.
func TestRespondIgnoresWhatFollowsIntegrity(t *testing.T) {
	request := build(t, stun.BindingRequest, raw(stun.AttrMessageIntegrity, 20), raw(0x7FFF, 4))
	m := &stun.Message{Raw: Respond(nil, request, client, &Site{}, nil).Message}
	if err := m.Decode(); err != nil || m.Type != stun.BindingSuccess {
		t.Errorf("got %v %v, want success", m.Type, err)
	}
}

func TestWrapAnswersBindingAndPassesTheRest(t *testing.T) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peer, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	wrapped := Wrap(server, Config{})
	defer wrapped.Close()
	other := "something else"
	for _, b := range [][]byte{build(t, stun.NewType(stun.MethodBinding, stun.ClassIndication)), build(t, stun.BindingRequest), []byte(other)} {
		if _, err := peer.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 1500)
	n, _, err := wrapped.ReadFrom(buf)
	if err != nil || string(buf[:n]) != other {
		t.Fatalf("got %q %v, want %q", buf[:n], err, other)
	}
	n, err = peer.Read(buf)
	if err != nil || !stun.IsMessage(buf[:n]) {
		t.Fatalf("got %x %v, want the Binding response", buf[:n], err)
	}
}

func TestServeEndsWithItsSocket(t *testing.T) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- Serve(server, Config{}) }()
	peer, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err := peer.Write(build(t, stun.BindingRequest)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, err := peer.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	var got stun.XORMappedAddress
	m := &stun.Message{Raw: buf[:n]}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	if err := got.GetFrom(m); err != nil || got.String() != peer.LocalAddr().String() {
		t.Errorf("got %v %v, want %v", got, err, peer.LocalAddr())
	}
	server.Close()
	if err := <-done; err != nil {
		t.Errorf("Serve: got %v, want nil after Close", err)
	}
}

func FuzzRespond(f *testing.F) {
	f.Add(build(f, stun.BindingRequest, raw(0x0003, 4)), byte(0))
	f.Add(build(f, stun.BindingRequest, raw(0x0008, 20), raw(0x7FFF, 1)), byte(1))
	f.Add(build(f, stun.BindingRequest, raw(0x0003, 4), raw(0x0026, 40), raw(attrNattestToken, 32)), byte(2))
	for _, request := range heavy(f) {
		f.Add(request, byte(3))
	}
	f.Fuzz(func(t *testing.T, request []byte, mode byte) {
		site := []Site{{}, one, two, four}[mode&3]
		token := mode&4 != 0
		a := Respond(nil, request, client, &site, func([]byte) bool { return token })
		out := a.Message
		if len(out) == 0 {
			return
		}
		switch {
		case len(out) > MaxResponse:
			t.Fatalf("got %d bytes, above MaxResponse", len(out))
		case a.To.Addr() != client.Addr():
			t.Fatalf("sent to %s, which is not where the request came from", a.To)
		case a.Via != 0 && !site[a.Via].IsValid():
			t.Fatalf("sent from alternate %d, which there is none of", a.Via)
		case a.Via != 0 && !site.complete() && a.Token == nil:
			t.Fatal("one address, and sent from the other port for who has no token")
		case len(out) > len(request)+80:
			t.Fatalf("got %d bytes for %d", len(out), len(request))
		}
		copy(out[4:], []byte{0x21, 0x12, 0xA4, 0x42}) // as a client of RFC 8489 would have it
		m := &stun.Message{Raw: out}
		if err := m.Decode(); err != nil {
			t.Fatalf("response %x: %v", out, err)
		}
		if site != four && (m.Contains(attrOtherAddress) || m.Contains(attrChangedAddress)) {
			t.Fatal("an alternate is named that there is none of")
		}
	})
}
