package stunsrv

import (
	"fmt"
	"net/netip"
	"testing"

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
