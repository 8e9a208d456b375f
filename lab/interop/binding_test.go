//go:build linux

package interop

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"

	"turnkey/lab/netns"
	"turnkey/lab/program"
)

// Every endpoint of both families answers each CHANGE-REQUEST from where it
// should, whichever of the sockets that share a port got the request.
func TestEveryEndpointAnswersFromWhereItIsAsked(t *testing.T) {
	_, _, client := internet(t)
	for range 4 { // another port of the client may reach another socket of the server
		everyFlag(t, client, stunClientIP, [2]string{first, second})
		everyFlag(t, client, stunClientIP6, [2]string{first6, second6})
	}
}

// everyFlag asks each of the four endpoints of two addresses with each
// CHANGE-REQUEST, from a fresh port.
func everyFlag(t *testing.T, client *netns.Host, own string, pair [2]string) {
	t.Helper()
	conn := open(t, client, own)
	defer conn.Close()
	endpoint := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(pair[i>>1]), uint16(3478+i&1))
	}
	for asked := range 4 {
		for change := range 4 {
			m, from := binding(t, conn, endpoint(asked), stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{0, 0, 0, byte(change << 1)}})
			want, other := endpoint(asked^change), endpoint(asked^3)
			if from != want || addressOf(m, stun.AttrResponseOrigin) != want.String() || addressOf(m, stun.AttrOtherAddress) != other.String() {
				t.Errorf("%s, flags %d: answered from %s, origin %s, other %s; want %s and %s", endpoint(asked), change<<1,
					from, addressOf(m, stun.AttrResponseOrigin), addressOf(m, stun.AttrOtherAddress), want, other)
			}
			if mapped := addressOf(m, stun.AttrMappedAddress); mapped != conn.LocalAddr().String() {
				t.Errorf("%s: got mapped address %s, want %s", endpoint(asked), mapped, conn.LocalAddr())
			}
		}
	}
}

// open opens a UDP socket on h, at this address of it.
func open(t *testing.T, h *netns.Host, own string) (conn *net.UDPConn) {
	t.Helper()
	if err := h.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(own), 0)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return conn
}

// binding asks once and returns the answer and where it came from.
func binding(t *testing.T, conn *net.UDPConn, to netip.AddrPort, setters ...stun.Setter) (*stun.Message, netip.AddrPort) {
	t.Helper()
	request := stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, setters...)...)
	if _, err := conn.WriteToUDPAddrPort(request.Raw, to); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatalf("ask %s: %v", to, err)
	}
	m := &stun.Message{Raw: buf[:n]}
	if err := m.Decode(); err != nil || m.TransactionID != request.TransactionID {
		t.Fatalf("ask %s: got transaction %x, %v", to, m.TransactionID, err)
	}
	return m, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func addressOf(m *stun.Message, attr stun.AttrType) string {
	var a stun.MappedAddress
	if err := a.GetFromAs(m, attr); err != nil {
		return err.Error()
	}
	return a.String()
}

// With the token of /nattest.json a probe in a hurry is not taken for a flood,
// and a server with one address answers from its other port.
func TestProbesWithATokenAreNotAFlood(t *testing.T) {
	const asked = 200
	_, _, client := internet(t, "TURNKEY_LISTEN=127.0.0.1,"+first, "TURNKEY_UNAUTH_RATE=1") // ten at once
	response, err := program.Client(client).Get("http://" + first + ":8080/nattest.json")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var doc struct{ Token, ChangeRequest, Seen string }
	if err := json.NewDecoder(response.Body).Decode(&doc); err != nil || doc.ChangeRequest != "port" || doc.Seen != stunClientIP {
		t.Fatalf("GET /nattest.json: got %+v, %v; want change of the port, seen from %s", doc, err, stunClientIP)
	}
	token, err := base64.RawURLEncoding.DecodeString(doc.Token)
	if err != nil {
		t.Fatal(err)
	}
	shown := stun.RawAttribute{Type: 0xC07E, Value: token}
	otherPort := stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{0, 0, 0, 2}}
	for _, tt := range []struct {
		name        string
		ask         []stun.Setter
		least, most int
		from        string
	}{
		{"a token", []stun.Setter{shown}, asked, asked, first + ":3478"},
		{"a token and a change", []stun.Setter{otherPort, shown}, asked, asked, first + ":3479"},
		{"no token", nil, 10, 20, first + ":3478"},
		{"a change and no token", []stun.Setter{otherPort}, 0, 10, first + ":3478"}, // what is left of the ten
	} {
		conn := open(t, client, stunClientIP)
		for range asked {
			request := stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, tt.ask...)...)
			if _, err := conn.WriteToUDPAddrPort(request.Raw, netip.MustParseAddrPort(first+":3478")); err != nil {
				t.Fatal(err)
			}
		}
		got, buf := 0, make([]byte, 2000)
		for wait := time.Second; got < asked; got++ {
			_ = conn.SetReadDeadline(time.Now().Add(wait))
			_, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				break
			}
			if from.String() != tt.from {
				t.Errorf("%s: answered from %s, want %s", tt.name, from, tt.from)
			}
			wait = 200 * time.Millisecond
		}
		if got < tt.least || got > tt.most {
			t.Errorf("%s: got %d answers to %d requests, want %d to %d", tt.name, got, asked, tt.least, tt.most)
		}
		conn.Close()
	}
}

// Over TCP and TLS the answer comes from where the connection goes, so nothing
// else can be asked for, nor is an alternate named.
func TestBindingOverStreams(t *testing.T) {
	_, _, client := internet(t, certificate(t)...)
	for _, tt := range []struct {
		to     string
		secure bool
	}{
		{first + ":3478", false}, {second + ":3478", false}, {"[" + second6 + "]:3478", false},
		{first + ":3478", true}, {second + ":5349", true},
		{second + ":443", true}, // listens on every address at once
	} {
		conn, err := client.Dial(t.Context(), "tcp", tt.to)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if tt.secure {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		for _, change := range []bool{false, true} {
			setters := []stun.Setter{stun.TransactionID, stun.BindingRequest}
			if change {
				setters = append(setters, stun.RawAttribute{Type: stun.AttrChangeRequest, Value: make([]byte, 4)})
			}
			if _, err := conn.Write(stun.MustBuild(setters...).Raw); err != nil {
				t.Fatalf("%s: %v", tt.to, err)
			}
			m := stun.New()
			if _, err := m.ReadFrom(conn); err != nil {
				t.Fatalf("%s: %v", tt.to, err)
			}
			var code stun.ErrorCodeAttribute
			if change {
				if err := code.GetFrom(m); err != nil || code.Code != stun.CodeUnknownAttribute {
					t.Errorf("%s: got %v, %v to CHANGE-REQUEST, want 420", tt.to, m, err)
				}
				continue
			}
			if origin, mapped := addressOf(m, stun.AttrResponseOrigin), addressOf(m, stun.AttrMappedAddress); m.Type != stun.BindingSuccess ||
				origin != tt.to || mapped != conn.LocalAddr().String() || m.Contains(stun.AttrOtherAddress) {
				t.Errorf("%s: got %v with origin %s and mapped address %s, want no alternate, %s and %s", tt.to, m, origin, mapped, tt.to, conn.LocalAddr())
			}
		}
	}
}

// A machine in a cloud has two private addresses, and a router that leads two
// public ones to them. The first is found by no setting but TURNKEY_PUBLIC_IP.
func TestAlternatesBehindOneToOneNAT(t *testing.T) {
	n := netns.New(t)
	wan, lan := n.Switch("wan"), n.Switch("lan")
	server, router, client := n.Host("server"), n.Host("router"), n.Host("client")
	router.Join(wan, "wan0", first+"/24", second+"/24")
	router.Join(lan, "lan0", "10.0.0.1/24")
	server.Join(lan, "eth0", "10.0.0.5/24", "10.0.0.6/24")
	server.Route("default", "via", "10.0.0.1")
	client.Join(wan, "eth0", stunClientIP+"/24")
	router.Sysctl("net.ipv4.ip_forward", "1")
	router.NFT(strings.NewReplacer("FIRST", first, "SECOND", second).Replace(`table ip n {
		chain pre {
			type nat hook prerouting priority dstnat
			iifname wan0 dnat to ip daddr map { FIRST : 10.0.0.5, SECOND : 10.0.0.6 }
		}
		chain post {
			type nat hook postrouting priority srcnat
			oifname wan0 snat to ip saddr map { 10.0.0.5 : FIRST, 10.0.0.6 : SECOND }
		}
	}
	`))
	program.Start(t, program.Config{Host: server, Env: []string{"TURNKEY_PUBLIC_IP=" + first, "TURNKEY_ALT_IP=" + second}})
	everyFlag(t, client, stunClientIP, [2]string{first, second})
	out := run(t, client, "turnutils_natdiscovery", "-m", "-f", "-L", stunClientIP, second)
	for _, words := range []string{"No NAT! (Endpoint Independent Mapping)", "NAT with Endpoint Independent Filtering!", "Other addr: : " + first + ":3479"} {
		if !strings.Contains(out, words) {
			t.Errorf("natdiscovery: got no %q in:\n%s", words, out)
		}
	}
}
