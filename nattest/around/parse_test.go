package around

import (
	"bytes"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

var (
	gatewayIP = netip.MustParseAddr("192.168.1.1")
	clientAt  = netip.MustParseAddrPort("192.168.1.2:40000")
	outer     = netip.MustParseAddr("203.0.113.5")
)

func TestNATPMPAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, raw string
		ok        bool
		state     string
		external  bool
	}{
		{"an address", "\x00\x80\x00\x00\x00\x00\x00\x01\xcb\x00\x71\x05", true, Available, true},
		{"no address", "\x00\x80\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", true, Available, false},
		{"network failure", "\x00\x80\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00", true, Available, false},
		{"refused, short", "\x00\x80\x00\x02\x00\x00\x00\x01", true, Refused, false},
		{"other version", "\x00\x80\x00\x01\x00\x00\x00\x01", true, Absent, false},
		{"success without an address", "\x00\x80\x00\x00\x00\x00\x00\x01", false, "", false},
		{"a request", "\x00\x00\x00\x00\x00\x00\x00\x01\xcb\x00\x71\x05", false, "", false},
		{"PCP", "\x02\x80\x00\x00\x00\x00\x00\x01\xcb\x00\x71\x05", false, "", false},
		{"empty", "", false, "", false},
	} {
		p, ok := parseNATPMP([]byte(tt.raw))
		if ok != tt.ok || p.State != tt.state || p.External.IsValid() != tt.external || tt.external && p.External != outer {
			t.Errorf("%s: got %+v, %v; want %s, %v", tt.name, p, ok, tt.state, tt.ok)
		}
	}
}

// answerMap is an answer to a request for a port, which assigns outer.
func answerMap(request []byte) []byte {
	b := bytes.Clone(request)
	b[1] |= 0x80
	b[3] = 0
	as16 := outer.As16()
	copy(b[44:], as16[:])
	return b
}

func TestPCPAnswers(t *testing.T) {
	announce := pcpRequest(opAnnounce, 0, clientAt, [12]byte{})
	request := pcpRequest(opMap, 120, clientAt, [12]byte{1, 2, 3})
	if len(announce) != 24 || len(request) != 60 {
		t.Fatalf("got %d and %d bytes, want 24 and 60 (RFC 6887 sections 7.1, 11.1)", len(announce), len(request))
	}
	// RFC 6887 sections 7.1 and 11.1, octet by octet.
	want := "\x02\x01\x00\x00\x00\x00\x00\x78" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\xa8\x01\x02" +
		"\x01\x02\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "\x11\x00\x00\x00" + "\x9c\x40\x00\x00" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00"
	if string(request) != want {
		t.Errorf("got MAP %x, want %x", request, want)
	}
	set := func(b []byte, at int, v byte) []byte { b = bytes.Clone(b); b[at] = v; return b }
	ok := answerMap(request)
	for _, tt := range []struct {
		name          string
		answer, to    []byte
		ok            bool
		state, mapped string
	}{
		{"announced", set(announce, 1, 0x80), announce, true, Available, Unknown},
		{"mapped", ok, request, true, Available, Yes},
		{"mapped for somebody else", set(ok, 24, 9), request, false, "", ""},
		{"mapped, cut off", ok[:56], request, false, "", ""},
		{"no multiple of four", ok[:59], request, false, "", ""},
		{"refused to map", set(ok, 3, 2), request, true, Available, No},
		{"refused", set(set(announce, 1, 0x80), 3, 2), announce, true, Refused, NotTested},
		{"other version", set(set(set(announce, 1, 0x80), 3, 1), 0, 1), announce, true, Absent, NotTested},
		{"NAT-PMP only", []byte("\x00\x80\x00\x01\x00\x00\x00\x01"), announce, true, Absent, NotTested},
		{"its own request", request, request, false, "", ""},
		{"another operation", set(announce, 1, 0x82), announce, false, "", ""},
	} {
		p, took := parsePCP(tt.answer, tt.to)
		if took != tt.ok || took && (p.State != tt.state || p.Mapping != tt.mapped) {
			t.Errorf("%s: got %+v, %v; want %s, mapping %s, %v", tt.name, p, took, tt.state, tt.mapped, tt.ok)
		}
	}
	if p, _ := parsePCP(ok, request); p.External != outer {
		t.Errorf("got external address %s, want %s", p.External, outer)
	}
}

const searchAnswer = "HTTP/1.1 200 OK\r\nST: urn:x\r\nSERVER: Lab/1\r\nLOCATION: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n"

// TestOnlyTheGatewayIsFetched: an answer must not make the probe contact
// anybody else.
func TestOnlyTheGatewayIsFetched(t *testing.T) {
	at, server, ok := parseSearch([]byte(searchAnswer), gatewayIP)
	if !ok || at.String() != "http://192.168.1.1:5000/rootDesc.xml" || server != "Lab/1" {
		t.Errorf("got %v, %q, %v; want the description on the gateway", at, server, ok)
	}
	for _, location := range []string{
		"http://192.168.1.2:5000/", "http://203.0.113.5/", "https://192.168.1.1/", "http://router.lab/", "http://192.168.1.1@203.0.113.5/",
		"http://user@192.168.1.1/", "http://192.168.1.1:0/", "http://192.168.1.1:70000/", "http://[::ffff:192.168.1.1]:80/", "file:///etc/passwd", "", "//192.168.1.1/", "http://192.168.1.1/" + strings.Repeat("a", 2000),
	} {
		raw := strings.Replace(searchAnswer, "http://192.168.1.1:5000/rootDesc.xml", location, 1)
		if at, _, ok := parseSearch([]byte(raw), gatewayIP); ok {
			t.Errorf("%s: got %s, want it refused", location, at)
		}
		if !strings.HasPrefix(location, "http") {
			continue // a path on the gateway
		}
		if s, err := parseDescription([]byte(strings.Replace(description, "/ctl/IPConn", location, 1)), at, gatewayIP); err == nil {
			t.Errorf("%s: got control at %s, want it refused", location, s.control)
		}
	}
}

const description = `<?xml version="1.0" encoding="ISO-8859-1"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><URLBase>http://203.0.113.66/</URLBase><device><friendlyName>A
 router</friendlyName><serviceList><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType><controlURL>/no</controlURL></service></serviceList>
<deviceList><device><friendlyName>inner</friendlyName><deviceList><device><serviceList><service>
<controlURL>/ctl/IPConn</controlURL><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType></service></serviceList></device></deviceList></device></deviceList></device></root>`

func TestDescription(t *testing.T) {
	base, _ := url.Parse("http://192.168.1.1:5000/rootDesc.xml")
	s, err := parseDescription([]byte(description), base, gatewayIP)
	if err != nil || s.control.String() != "http://192.168.1.1:5000/ctl/IPConn" || s.kind != "urn:schemas-upnp-org:service:WANIPConnection:1" || s.name != "A router" {
		t.Errorf("got %+v, %v; want the service for connections", s, err)
	}
	for _, bad := range []string{"", "<", "<a>", "HTTP", strings.Repeat("<a>", 1e5), strings.Replace(description, "WANIPConnection:1", `WANIPConnection:1"&gt;`, 1)} {
		if s, err := parseDescription([]byte(bad), base, gatewayIP); err == nil {
			t.Errorf("%.40q: got %+v, want an error", bad, s)
		}
	}
}

func TestExternalAddressAnswers(t *testing.T) {
	envelope := func(s string) []byte {
		return []byte(`<?xml version="1.0"?><s:Envelope><s:Body><u:R><NewExternalIPAddress>` + s + `</NewExternalIPAddress></u:R></s:Body></s:Envelope>`)
	}
	for _, tt := range []struct {
		status int
		doc    []byte
		state  string
		valid  bool
	}{
		{200, envelope("203.0.113.5"), Available, true},
		{200, envelope(""), Available, false},
		{200, envelope("0.0.0.0"), Available, false},
		{200, envelope("127.0.0.1"), Available, false},
		{200, envelope("::1"), Available, false},
		{500, envelope("203.0.113.5"), Unknown, false},
		{500, []byte(`<s:Fault><detail><UPnPError><errorCode>501</errorCode></UPnPError></detail></s:Fault>`), Refused, false},
		{200, []byte("<html>"), Unknown, false},
		{404, nil, Unknown, false},
	} {
		state, external, why := parseExternal(tt.status, tt.doc)
		if state != tt.state || external.IsValid() != tt.valid || !tt.valid && why == "" {
			t.Errorf("%d %s: got %s, %s, %q; want %s", tt.status, tt.doc, state, external, why, tt.state)
		}
	}
}

// FuzzRouterAnswers feeds everything that a router may say to every parser.
func FuzzRouterAnswers(f *testing.F) {
	request := pcpRequest(opMap, 120, clientAt, [12]byte{1})
	for _, seed := range [][]byte{
		[]byte("\x00\x80\x00\x00\x00\x00\x00\x01\xcb\x00\x71\x05"), answerMap(request), []byte(searchAnswer), []byte(description),
		[]byte("<NewExternalIPAddress>203.0.113.5</NewExternalIPAddress>"), []byte("<errorCode>501</errorCode>"),
	} {
		f.Add(seed)
	}
	base, _ := url.Parse("http://192.168.1.1:5000/rootDesc.xml")
	f.Fuzz(func(t *testing.T, b []byte) {
		mappedIn(b, [12]byte{})
		for _, p := range []func() (Protocol, bool){
			func() (Protocol, bool) { return parseNATPMP(b) },
			func() (Protocol, bool) { return parsePCP(b, request) },
			func() (Protocol, bool) { return parsePCP(b, request[:pcpHeader]) },
		} {
			if p, ok := p(); ok && (p.State == "" || p.Mapping == "" || p.External.IsValid() && !usable(p.External)) {
				t.Errorf("got %+v", p)
			}
		}
		if at, server, ok := parseSearch(b, gatewayIP); ok && (at.Hostname() != "192.168.1.1" || len([]rune(server)) > 60) {
			t.Errorf("got %s, %q", at, server)
		}
		if s, err := parseDescription(b, base, gatewayIP); err == nil && (s.control.Hostname() != "192.168.1.1" || len([]rune(s.name)) > 60) {
			t.Errorf("got %+v", s)
		}
		for _, status := range []int{200, 500} {
			if state, a, why := parseExternal(status, b); a.IsValid() != (state == Available && why == "") || len(why) > 300 {
				t.Errorf("got %s, %s, %q", state, a, why)
			}
		}
	})
}
