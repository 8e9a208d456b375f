package stunsrv

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// listenAt opens a socket on loopback that a test answers on.
func listenAt(t *testing.T, at string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// square opens the four sockets of a server with two addresses on loopback and
// answers on them, by turns with Serve and with Wrap.
func square(t *testing.T, tokens *Tokens) (at Site) {
	t.Helper()
	conns := [4]*net.UDPConn{0: listenAt(t, "127.0.0.1:0"), 1: listenAt(t, "127.0.0.1:0")}
	for i := range 2 { // the same ports on the other address
		_, port, _ := net.SplitHostPort(conns[i].LocalAddr().String())
		conns[i+2] = listenAt(t, "127.0.0.2:"+port)
	}
	for i, conn := range conns {
		at[i] = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	for i, conn := range conns {
		place := &Place{}
		for change := range place.Site { // flags flip the one or the other
			place.Site[change], place.Via[change] = at[i^change], conns[i^change]
		}
		c := Config{Place: func(netip.AddrPort) *Place { return place }, Tokens: tokens}
		if i%2 == 0 {
			go Serve(conn, c)
			continue
		}
		go func() {
			_, _, err := Wrap(conn, c).ReadFrom(make([]byte, 1600))
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: something passed, or %v", conn.LocalAddr(), err)
			}
		}()
	}
	return at
}

// receive reads one message and where it came from.
func receive(t *testing.T, conn *net.UDPConn) (*stun.Message, netip.AddrPort) {
	t.Helper()
	buf := make([]byte, 2000)
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	m := &stun.Message{Raw: buf[:n]}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	return m, from
}

// Each of the four endpoints, asked with all flags, with and without
// RESPONSE-PORT, PADDING and a token, answers from the socket that it should,
// to the port that it should, and names itself and its alternate.
func TestFourEndpoints(t *testing.T) {
	tokens := NewTokens(time.Minute)
	issued, _ := tokens.Issue()
	at := square(t, tokens)
	client, other := listenAt(t, "127.0.0.1:0"), listenAt(t, "127.0.0.1:0")
	elsewhere := port(uint16(other.LocalAddr().(*net.UDPAddr).Port))
	extras := map[string][]stun.Setter{
		"nothing more":         nil,
		"RESPONSE-PORT":        {elsewhere},
		"PADDING":              {raw(attrPadding, 1400)},
		"FINGERPRINT":          {stun.Fingerprint},
		"a token":              {stun.RawAttribute{Type: attrNattestToken, Value: issued}},
		"PADDING and a token":  {raw(attrPadding, 40), stun.RawAttribute{Type: attrNattestToken, Value: issued}},
		"RESPONSE-PORT, token": {elsewhere, stun.RawAttribute{Type: attrNattestToken, Value: issued}},
	}
	for asked := range at {
		for flags := -1; flags < 4; flags++ { // -1: no CHANGE-REQUEST
			for extra, setters := range extras {
				name := fmt.Sprintf("%s, flags %d, %s", at[asked], flags, extra)
				all := []stun.Setter{stun.BindingRequest}
				if flags >= 0 {
					all = append(all, change(byte(flags<<1)))
				}
				request := build(t, append(all, setters...)...)
				if _, err := client.WriteToUDPAddrPort(request, at[asked]); err != nil {
					t.Fatal(err)
				}
				to := client
				if extra == "RESPONSE-PORT" || extra == "RESPONSE-PORT, token" {
					to = other
				}
				m, from := receive(t, to)
				want := at[asked^max(flags, 0)]
				if from != want || address(m, attrResponseOrigin) != want.String() || address(m, attrOtherAddress) != at[asked^3].String() {
					t.Errorf("%s: answered from %s, origin %s, other %s; want %s and %s", name, from,
						address(m, attrResponseOrigin), address(m, attrOtherAddress), want, at[asked^3])
				}
				var xor stun.XORMappedAddress
				mapped := address(m, attrMappedAddress)
				if err := xor.GetFrom(m); err != nil || mapped != client.LocalAddr().String() || xor.String() != mapped {
					t.Errorf("%s: got MAPPED-ADDRESS %s and XOR-MAPPED-ADDRESS %s, want %s", name, mapped, xor, client.LocalAddr())
				}
				if string(m.TransactionID[:]) != string(request[8:20]) || m.Contains(stun.AttrFingerprint) != (extra == "FINGERPRINT") {
					t.Errorf("%s: got transaction %x and FINGERPRINT %t", name, m.TransactionID, m.Contains(stun.AttrFingerprint))
				}
				if len(m.Raw) > len(request)+60 {
					t.Errorf("%s: got %d bytes for %d", name, len(m.Raw), len(request))
				}
			}
		}
	}
	other.SetReadDeadline(time.Now())
	if _, _, err := other.ReadFromUDPAddrPort(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the port of RESPONSE-PORT got more than it was to: %v", err)
	}
}

// The budget of tokens is its own: a flood without one does not use it up, and
// one with a token goes on at everybody's rate when it is used up.
func TestTokensHaveTheirOwnBudget(t *testing.T) {
	tokens := NewTokens(time.Minute)
	issued, _ := tokens.Issue()
	sent := 0
	r := newResponder(Config{Limit: NewLimiter(1, 10), Tokens: tokens, Place: func(netip.AddrPort) *Place { return &Place{Site: two} }}, count{&sent})
	plain := build(t, stun.BindingRequest)
	shown := build(t, stun.BindingRequest, stun.RawAttribute{Type: attrNattestToken, Value: issued})
	padded := build(t, stun.BindingRequest, raw(attrPadding, 1400), stun.RawAttribute{Type: attrNattestToken, Value: issued})
	for _, tt := range []struct {
		name     string
		request  []byte
		from     string
		tries, n int
	}{
		{"without a token", plain, "203.0.113.7:1", 1000, 10},
		{"a token, after that", shown, "203.0.113.7:1", 100, 100},
		{"a token, long answers", padded, "203.0.113.9:1", 1000, (tokenBurst-100)/8 + 1},
		{"a token that is used up", shown, "203.0.113.10:1", 1000, 4 + 10},
	} {
		sent = 0
		for range tt.tries {
			r.respond(tt.request, netip.MustParseAddrPort(tt.from))
		}
		if sent < tt.n-4 || sent > tt.n+4 {
			t.Errorf("%s: got %d answers, want about %d", tt.name, sent, tt.n)
		}
	}
}

// count is a Sender that counts.
type count struct{ n *int }

func (c count) WriteToUDPAddrPort(p []byte, _ netip.AddrPort) (int, error) {
	*c.n++
	return len(p), nil
}

// Over a connection a request without the magic cookie is an error.
func TestNoClassicClientsOverConnections(t *testing.T) {
	var got capture
	r := newResponder(Config{Connected: true}, &got)
	request := build(t, stun.BindingRequest)
	r.respond(request, client)
	if m := got.message(t); m.Type != stun.BindingSuccess {
		t.Errorf("with the cookie: got %v, want success", m)
	}
	request[4] ^= 0xFF
	r.respond(request, client)
	copy(got.b[4:], []byte{0x21, 0x12, 0xA4, 0x42}) // for the decoder
	if code, _ := refusal(got.message(t)); code != stun.CodeServerError {
		t.Errorf("without the cookie: got %v, want 500", got.message(t))
	}
}

// capture is a Sender that keeps the last message.
type capture struct{ b []byte }

func (c *capture) WriteToUDPAddrPort(p []byte, _ netip.AddrPort) (int, error) {
	c.b = append(c.b[:0], p...)
	return len(p), nil
}

func (c *capture) message(t *testing.T) *stun.Message {
	t.Helper()
	m := &stun.Message{Raw: c.b}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	return m
}
