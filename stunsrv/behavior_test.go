package stunsrv

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// Sites of a server with two addresses, and of one with one.
var (
	four = site("198.51.100.1:3478", "198.51.100.1:3479", "198.51.100.2:3478", "198.51.100.2:3479")
	two  = site("198.51.100.1:3478", "198.51.100.1:3479")
	one  = site("198.51.100.1:3478")
)

func site(list ...string) (s Site) {
	for i, a := range list {
		s[i] = netip.MustParseAddrPort(a)
	}
	return s
}

func change(flags byte) stun.Setter {
	return stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{0, 0, 0, flags}}
}

func port(n uint16) stun.Setter {
	return stun.RawAttribute{Type: attrResponsePort, Value: []byte{byte(n >> 8), byte(n)}}
}

var token = stun.RawAttribute{Type: attrNattestToken, Value: []byte("a token that is valid")}

func isToken(b []byte) bool { return string(b) == string(token.Value) }

// ask lets Respond answer and reads the answer with pion's decoder.
func ask(t *testing.T, s Site, setters ...stun.Setter) (Response, *stun.Message) {
	t.Helper()
	a := Respond(nil, build(t, append([]stun.Setter{stun.BindingRequest}, setters...)...), client, &s, isToken)
	m := &stun.Message{Raw: a.Message}
	if err := m.Decode(); err != nil {
		t.Fatalf("%x: %v", a.Message, err)
	}
	return a, m
}

// address reads an attribute of the form of MAPPED-ADDRESS.
func address(m *stun.Message, attr stun.AttrType) string {
	var a stun.MappedAddress
	if err := a.GetFromAs(m, attr); err != nil {
		return ""
	}
	return a.String()
}

func TestChangeRequest(t *testing.T) {
	wrong := stun.RawAttribute{Type: attrNattestToken, Value: []byte("a token that is forged")}
	for _, tt := range []struct {
		name    string
		site    Site
		flags   byte
		token   stun.Setter
		refused bool
		origin  string
	}{
		{"two addresses", four, 0, nil, false, "198.51.100.1:3478"},
		{"two addresses", four, 2, nil, false, "198.51.100.1:3479"},
		{"two addresses", four, 4, nil, false, "198.51.100.2:3478"},
		{"two addresses", four, 6, nil, false, "198.51.100.2:3479"},
		{"two addresses, bits that mean nothing", four, 0xFF, nil, false, "198.51.100.2:3479"},
		{"two addresses, token", four, 6, token, false, "198.51.100.2:3479"},
		{"one address", two, 0, nil, true, ""},
		{"one address", two, 2, nil, true, ""},
		{"one address", two, 6, nil, true, ""},
		{"one address, forged token", two, 2, wrong, true, ""},
		{"one address, token", two, 0, token, false, "198.51.100.1:3478"},
		{"one address, token", two, 2, token, false, "198.51.100.1:3479"},
		{"one address, token", two, 4, token, true, ""},
		{"one address, token", two, 6, token, true, ""},
		{"one port, token", one, 2, token, true, ""},
		{"nothing known", Site{}, 0, token, true, ""},
	} {
		name := fmt.Sprintf("%s, flags %#x", tt.name, tt.flags)
		setters := []stun.Setter{change(tt.flags)}
		if tt.token != nil {
			setters = append(setters, tt.token)
		}
		a, m := ask(t, tt.site, setters...)
		if tt.refused {
			var unknown stun.UnknownAttributes
			if err := unknown.GetFrom(m); err != nil || len(unknown) != 1 || unknown[0] != stun.AttrChangeRequest || a.Via != 0 {
				t.Errorf("%s: got %v %v, sent as %d; want 420 from where it was asked", name, m, unknown, a.Via)
			}
			continue
		}
		if got := address(m, attrResponseOrigin); got != tt.origin || tt.site[a.Via].String() != tt.origin || a.To != client {
			t.Errorf("%s: got origin %s, sent from %s to %s; want %s", name, got, tt.site[a.Via], a.To, tt.origin)
		}
		if other := address(m, attrOtherAddress); tt.site == four && other != "198.51.100.2:3479" || tt.site != four && other != "" {
			t.Errorf("%s: got OTHER-ADDRESS %q", name, other)
		}
	}
}

// refusal returns the code of an error response and the attributes it lists.
func refusal(m *stun.Message) (code stun.ErrorCode, unknown stun.UnknownAttributes) {
	var e stun.ErrorCodeAttribute
	if e.GetFrom(m) == nil {
		code = e.Code
	}
	_ = unknown.GetFrom(m)
	return code, unknown
}

func TestResponsePortAndPadding(t *testing.T) {
	short := stun.RawAttribute{Type: attrResponsePort, Value: []byte{80}}
	wide := stun.RawAttribute{Type: attrResponsePort, Value: []byte{31, 144, 0, 0}}
	for _, tt := range []struct {
		name    string
		site    Site
		ask     []stun.Setter
		code    stun.ErrorCode
		unknown int
		port    uint16 // where the answer goes
		padding int    // of the answer; -1: none
	}{
		{"port", four, []stun.Setter{port(8080)}, 0, 0, 8080, -1},
		{"port in four bytes", four, []stun.Setter{wide}, 0, 0, 8080, -1},
		{"port of the client", four, []stun.Setter{port(client.Port())}, 0, 0, client.Port(), -1},
		{"two ports, of which the first counts", four, []stun.Setter{port(8080), port(8081)}, 0, 0, 8080, -1},
		{"port and change", four, []stun.Setter{port(8080), change(6)}, 0, 0, 8080, -1},
		{"port 0", four, []stun.Setter{port(0)}, 400, 0, client.Port(), -1},
		{"port in one byte", four, []stun.Setter{short}, 400, 0, client.Port(), -1},
		{"change in two bytes", four, []stun.Setter{raw(stun.AttrChangeRequest, 2)}, 400, 0, client.Port(), -1},
		{"port, one address", two, []stun.Setter{port(8080)}, 420, 1, client.Port(), -1},
		{"port, one address, token", two, []stun.Setter{port(8080), token}, 0, 0, 8080, -1},
		{"no padding", four, []stun.Setter{raw(attrPadding, 0)}, 0, 0, client.Port(), 0},
		{"padding of 3", four, []stun.Setter{raw(attrPadding, 3)}, 0, 0, client.Port(), 0},
		{"padding of 41", four, []stun.Setter{raw(attrPadding, 41)}, 0, 0, client.Port(), 40},
		{"padding of 1500", four, []stun.Setter{raw(attrPadding, 1500)}, 0, 0, client.Port(), 1500},
		{"padding of 4000", four, []stun.Setter{raw(attrPadding, 4000)}, 0, 0, client.Port(), maxPadding},
		{"padding, one address", two, []stun.Setter{raw(attrPadding, 40)}, 420, 1, client.Port(), -1},
		{"padding, one address, token", two, []stun.Setter{raw(attrPadding, 40), token}, 0, 0, client.Port(), 40},
		{"padding and port", four, []stun.Setter{raw(attrPadding, 40), port(8080)}, 400, 0, client.Port(), -1},
		{"padding and port, one address", two, []stun.Setter{raw(attrPadding, 40), port(8080)}, 420, 2, client.Port(), -1},
		{"everything and what nobody knows", four, []stun.Setter{raw(attrPadding, 40), port(8080), raw(0x7000, 0)}, 420, 1, client.Port(), -1},
	} {
		a, m := ask(t, tt.site, tt.ask...)
		code, unknown := refusal(m)
		padding := -1
		if v, err := m.Get(attrPadding); err == nil {
			padding = len(v)
		}
		if code != tt.code || len(unknown) != tt.unknown || a.To != netip.AddrPortFrom(client.Addr(), tt.port) || padding != tt.padding {
			t.Errorf("%s: got code %d, %d unknown, sent to %s, padding %d; want %d, %d, port %d, %d", tt.name,
				code, len(unknown), a.To, padding, tt.code, tt.unknown, tt.port, tt.padding)
		}
		if code != 0 && a.Via != 0 {
			t.Errorf("%s: the refusal is sent from elsewhere", tt.name)
		}
		if len(a.Message) > MaxResponse {
			t.Errorf("%s: got %d bytes, above MaxResponse", tt.name, len(a.Message))
		}
	}
}

// A client of RFC 3489 sends no magic cookie, and is told its address and where
// else to ask as that RFC has it.
func TestClassicClients(t *testing.T) {
	for _, tt := range []struct {
		name    string
		site    Site
		ask     []stun.Setter
		code    stun.ErrorCode
		source  string
		changed string
	}{
		{"one address", two, nil, 0, "198.51.100.1:3478", ""},
		{"one address, CHANGE-REQUEST", two, []stun.Setter{change(0)}, 420, "", ""},
		{"two addresses", four, nil, 0, "198.51.100.1:3478", "198.51.100.2:3479"},
		{"two addresses, CHANGE-REQUEST", four, []stun.Setter{change(4)}, 0, "198.51.100.2:3478", "198.51.100.2:3479"},
		{"RESPONSE-ADDRESS, which would be a reflector", four, []stun.Setter{raw(0x0002, 8)}, 420, "", ""},
	} {
		request := build(t, append([]stun.Setter{stun.BindingRequest}, tt.ask...)...)
		id := request[4:20]
		id[0] ^= 0xFF
		a := Respond(nil, request, client, &tt.site, nil)
		if !IsBinding(request) || len(a.Message) < 20 || string(a.Message[4:20]) != string(id) {
			t.Errorf("%s: got %x, want an answer to transaction %x", tt.name, a.Message, id)
			continue
		}
		copy(a.Message[4:], []byte{0x21, 0x12, 0xA4, 0x42}) // for the decoder
		m := &stun.Message{Raw: a.Message}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		code, _ := refusal(m)
		source, changed := address(m, attrSourceAddress), address(m, attrChangedAddress)
		if code != tt.code || source != tt.source || changed != tt.changed || m.Contains(stun.AttrXORMappedAddress) {
			t.Errorf("%s: got %v, code %d, source %q, changed %q; want %d, %q, %q and no XOR-MAPPED-ADDRESS", tt.name, m, code, source, changed, tt.code, tt.source, tt.changed)
		}
		if mapped := address(m, stun.AttrMappedAddress); code == 0 && mapped != client.String() {
			t.Errorf("%s: got mapped address %s, want %s", tt.name, mapped, client)
		}
	}
}

// heavy are the requests that take most of the responder.
func heavy(t testing.TB) map[string][]byte {
	issued, _ := tokensForTest.Issue()
	shown := stun.RawAttribute{Type: attrNattestToken, Value: issued}
	classic := build(t, stun.BindingRequest, change(6))
	classic[4] ^= 0xFF
	return map[string][]byte{
		"Plain":         build(t, stun.BindingRequest),
		"Fingerprint":   build(t, stun.BindingRequest, stun.Fingerprint),
		"ChangeRequest": build(t, stun.BindingRequest, change(6), stun.Fingerprint),
		"ResponsePort":  build(t, stun.BindingRequest, port(8080)),
		"Padding":       build(t, stun.BindingRequest, raw(attrPadding, 1500), stun.Fingerprint),
		"Token":         build(t, stun.BindingRequest, change(6), shown, stun.Fingerprint),
		"ForgedToken":   build(t, stun.BindingRequest, raw(attrNattestToken, tokenSize)),
		"RFC3489":       classic,
		"Refused":       build(t, stun.BindingRequest, raw(0x7000, 4)),
	}
}

var tokensForTest = NewTokens(time.Hour)

// discard is a Sender.
type discard struct{}

func (discard) WriteToUDPAddrPort(p []byte, _ netip.AddrPort) (int, error) { return len(p), nil }

// responderForTest answers at four with every feature.
func responderForTest() *responder {
	place := &Place{Site: four, Via: [4]Sender{1: discard{}, 2: discard{}, 3: discard{}}}
	return newResponder(Config{
		Place: func(netip.AddrPort) *Place { return place }, Limit: NewLimiter(1000000, 1000000), Tokens: tokensForTest,
	}, discard{})
}

func TestNothingAllocates(t *testing.T) {
	for _, from := range []string{"203.0.113.7:40000", "[2001:db8::7]:40000"} {
		r, from := responderForTest(), netip.MustParseAddrPort(from)
		for name, request := range heavy(t) {
			if a := Respond(nil, request, from, &four, r.valid); len(a.Message) == 0 {
				t.Errorf("%s: not answered", name)
			}
			if n := testing.AllocsPerRun(100, func() { r.respond(request, from) }); n != 0 {
				t.Errorf("%s from %s: got %v allocations, want 0", name, from, n)
			}
		}
	}
}

func BenchmarkRespond(b *testing.B) {
	requests := heavy(b)
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		b.Run(name, func(b *testing.B) {
			r := responderForTest()
			b.ReportAllocs()
			for b.Loop() {
				r.respond(requests[name], client)
			}
		})
	}
}
