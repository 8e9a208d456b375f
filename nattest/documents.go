package nattest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/pion/stun/v3"
)

// iceRefusal says why /v1/ice handed out nothing.
func iceRefusal(status int, withKey bool, message string) string {
	said := ""
	if message != "" {
		said = ": " + message
	}
	switch {
	case status == http.StatusTooManyRequests:
		return "the server limits how often credentials may be asked for (HTTP 429); wait and try again"
	case status != http.StatusUnauthorized && status != http.StatusForbidden:
		return fmt.Sprintf("/v1/ice answers HTTP %d%s", status, said)
	case withKey:
		return fmt.Sprintf("the server refuses this key (HTTP %d)%s", status, said)
	case status == http.StatusForbidden: // TURNKEY_AUTH=local, unless it says something else
		return "the server gives nothing without a key (HTTP 403)" + said + "; set TURNKEY_AUTH=key there, and give its key by -key or TURNKEY_API_KEY"
	}
	return fmt.Sprintf("for want of a key (HTTP %d from /v1/ice); give -key or TURNKEY_API_KEY", status)
}

// parseICE reads the answer of GET /v1/ice. An error means that this is no
// turnkey server; otherwise there are URLs (status 200) or a message.
func parseICE(status int, body []byte) ([]turnURL, string, error) {
	var doc struct {
		ICEServers []struct {
			URLs       urlList `json:"urls"`
			Username   string  `json:"username"`
			Credential string  `json:"credential"`
		} `json:"iceServers"`
		Error *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	err := json.Unmarshal(body, &doc)
	if status != http.StatusOK {
		if err != nil || doc.Error == nil {
			return nil, "", fmt.Errorf("answers HTTP %d, not as a turnkey server does", status)
		}
		return nil, Clean(doc.Error.Message), nil
	}
	if err != nil || doc.ICEServers == nil {
		return nil, "", fmt.Errorf("answers without iceServers")
	}
	var out []turnURL
	for _, s := range doc.ICEServers {
		for _, raw := range s.URLs {
			u, err := stun.ParseURI(raw)
			if err != nil || (u.Scheme != stun.SchemeTypeTURN && u.Scheme != stun.SchemeTypeTURNS) ||
				!validHost(u.Host) || u.Port < 1 || u.Port > 65535 || len(out) == maxURLs {
				continue
			}
			out = append(out, turnURL{*u, s.Username, s.Credential})
		}
	}
	return out, "", nil
}

// urlList is the urls member of an RTCIceServer: a string or a list.
type urlList []string

func (l *urlList) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = urlList{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// document is what /nattest.json says.
type document struct {
	read       bool       // it is one
	stun       []string   // host:port
	relayPorts string     // first-last or one port, "" unknown
	token      []byte     // for NATTEST-TOKEN, nil without
	seen       netip.Addr // this machine, as HTTP saw it; zero unknown
	change     string     // what CHANGE-REQUEST can do with that: none, port or all, "" unknown
}

// attrToken is NATTEST-TOKEN, by which turnkey knows its own probe.
const attrToken = stun.AttrType(0xC07E)

// Lengths that a token may have, in bytes.
const minToken, maxToken = 16, 64

// parseNattest reads /nattest.json; zero when it says nothing usable. Members
// this version does not know are ignored, another schema is not read.
func parseNattest(body []byte) (d document) {
	var doc struct {
		Schema        int      `json:"schema"`
		STUN          []string `json:"stun"`
		RelayPorts    string   `json:"relayPorts"`
		Token         string   `json:"token"`
		ChangeRequest string   `json:"changeRequest"`
		Seen          string   `json:"seen"`
	}
	if json.Unmarshal(body, &doc) != nil || doc.Schema != 1 {
		return d
	}
	d.read = true
	if a, err := netip.ParseAddr(doc.Seen); err == nil {
		d.seen = a.Unmap().WithZone("")
	}
	if raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(doc.Token, "=")); err == nil && len(raw) >= minToken && len(raw) <= maxToken {
		d.token = raw
	}
	if slices.Contains([]string{"none", "port", "all"}, doc.ChangeRequest) {
		d.change = doc.ChangeRequest
	}
	if first, last, found := strings.Cut(doc.RelayPorts, "-"); validPort(first) && (!found || validPort(last)) {
		d.relayPorts = doc.RelayPorts
	}
	for _, s := range doc.STUN {
		host, port, err := net.SplitHostPort(s)
		if err == nil && validPort(port) && (host == "" || validHost(host)) && len(d.stun) < maxEndpoints {
			d.stun = append(d.stun, s)
		}
	}
	return d
}
