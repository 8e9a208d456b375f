package around

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// everybody is the multicast group of SSDP.
var everybody = netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, 255, 250}), 1900)

// gatewayDevices are the devices looked for.
var gatewayDevices = []string{
	"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
	"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
}

// searchFor builds an M-SEARCH.
func searchFor(what string, to netip.AddrPort) []byte {
	return []byte("M-SEARCH * HTTP/1.1\r\nHOST: " + to.String() + "\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: " + what + "\r\n\r\n")
}

// parseSearch reads an answer to M-SEARCH: where the description is, and what
// the device runs. Places other than the gateway are not taken.
func parseSearch(b []byte, gateway netip.Addr) (at *url.URL, server string, ok bool) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return nil, "", false
	}
	resp.Body.Close()
	at, err = url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != http.StatusOK || !onGateway(at, gateway) {
		return nil, "", false
	}
	return at, clean(resp.Header.Get("Server")), true
}

// onGateway says whether a URL is plain HTTP on the gateway's own address.
func onGateway(u *url.URL, gateway netip.Addr) bool {
	a, err := netip.ParseAddr(u.Hostname())
	if err != nil || a != gateway || u.Scheme != "http" || u.User != nil || len(u.String()) > 1024 {
		return false
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil && port > 0
}

// service is what a gateway's description says of its connection.
type service struct {
	kind    string   // its URN
	control *url.URL // where it takes actions
	name    string   // of the device
}

// maxTokens bounds what is read of a document.
const maxTokens = 20000

// texts calls f with each element that has text, and when an element ends.
func texts(doc []byte, f func(name, text string) (more bool)) error {
	d := xml.NewDecoder(bytes.NewReader(doc))
	d.Strict = false // routers write what they like
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	var text []byte
	for range maxTokens {
		t, err := d.RawToken()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			text = text[:0]
		case xml.CharData:
			if len(text)+len(t) <= 1024 {
				text = append(text, t...)
			}
		case xml.EndElement:
			if !f(t.Name.Local, strings.TrimSpace(string(text))) {
				return nil
			}
			text = text[:0]
		}
	}
	return errors.New("it is too long")
}

// parseDescription looks for a service that knows the external address, in the
// description of a device at base. Its place has to be the gateway, too.
func parseDescription(doc []byte, base *url.URL, gateway netip.Addr) (found service, err error) {
	var kind, control, name string
	err = texts(doc, func(element, text string) bool {
		switch element {
		case "friendlyName":
			if name == "" {
				name = clean(text)
			}
		case "serviceType":
			kind = text
		case "controlURL":
			control = text
		case "service":
			if at := controlAt(kind, control, base, gateway); at != nil {
				found = service{kind, at, name}
				return false
			}
			kind, control = "", ""
		}
		return true
	})
	if found.control != nil {
		return found, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = errors.New("it names no service for connections")
	}
	return service{}, err
}

// controlAt is where a service takes actions; nil for one that is of no use.
func controlAt(kind, control string, base *url.URL, gateway netip.Addr) *url.URL {
	rest, ok := strings.CutPrefix(kind, "urn:schemas-upnp-org:service:WAN")
	if !ok {
		return nil
	}
	what, version, _ := strings.Cut(rest, ":")
	if what != "IPConnection" && what != "PPPConnection" || version != "1" && version != "2" {
		return nil
	}
	at, err := url.Parse(control)
	if err != nil || control == "" {
		return nil
	}
	if at = base.ResolveReference(at); !onGateway(at, gateway) {
		return nil
	}
	return at
}

// soap is the envelope of an action without arguments.
func soap(service, action string) []byte {
	return []byte(xml.Header + `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:` +
		action + ` xmlns:u="` + service + `"></u:` + action + `></s:Body></s:Envelope>`)
}

// parseExternal reads the answer to GetExternalIPAddress.
func parseExternal(status int, doc []byte) (state string, external netip.Addr, why string) {
	var address, code string
	has := false
	_ = texts(doc, func(element, text string) bool { // what was read before a fault counts
		switch element {
		case "NewExternalIPAddress":
			address, has = text, true
		case "errorCode":
			code = text
		}
		return !has
	})
	switch a, err := netip.ParseAddr(address); {
	case status == http.StatusOK && has && err == nil && usable(a):
		return Available, a, ""
	case status == http.StatusOK && has:
		return Available, netip.Addr{}, "the router has no external address that would do"
	case code != "":
		return Refused, netip.Addr{}, "the router refuses with UPnP error " + clean(code)
	}
	return Unknown, netip.Addr{}, fmt.Sprintf("its service answers HTTP %d without an address", status)
}

// clean makes text from a router fit to print: one line of at most 60 letters.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 60 {
		s = string(r[:57]) + "..."
	}
	return s
}
