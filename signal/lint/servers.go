package lint

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// manyServers is how many make browsers slow: each is asked.
const manyServers = 4

// server is an RTCIceServer as somebody has written it.
type server map[string]json.RawMessage

var (
	assignment = regexp.MustCompile(`^(?s)(?:(?:const|let|var)\s+)?[\w.]+\s*[:=]\s*`)
	comment    = regexp.MustCompile(`(?m)(^|\s)//.*$`)
	bareKey    = regexp.MustCompile(`([{,]\s*)([A-Za-z_]\w*)\s*:`)
	trailing   = regexp.MustCompile(`,\s*([}\]])`)
)

// readServers takes JSON, or the object literal of a page.
func readServers(text string) ([]server, bool) {
	for _, candidate := range []string{text, asJSON(text)} {
		var list []server
		if json.Unmarshal([]byte(candidate), &list) == nil {
			return list, true
		}
		var one server
		if json.Unmarshal([]byte(candidate), &one) != nil {
			continue
		}
		if inner, ok := one["iceServers"]; ok {
			if json.Unmarshal(inner, &list) == nil {
				return list, true
			}
			return nil, false
		}
		return []server{one}, true
	}
	return nil, false
}

// asJSON makes JSON of the way JavaScript writes objects, where that is simple.
func asJSON(text string) string {
	text = strings.TrimRight(strings.TrimSpace(comment.ReplaceAllString(text, "")), "; \n")
	if !strings.HasPrefix(text, "[") && !strings.HasPrefix(text, "{") {
		text = assignment.ReplaceAllString(text, "")
	}
	if !strings.Contains(text, `"`) {
		text = strings.ReplaceAll(text, "'", `"`)
	}
	return trailing.ReplaceAllString(bareKey.ReplaceAllString(text, `$1"$2":`), "$1")
}

func (r *Report) servers(text string, now time.Time) {
	list, ok := readServers(text)
	if !ok {
		r.add(Error, "unknown", "this is no SDP, no candidate and no list of ICE servers", "an SDP begins with v=0, a candidate with candidate:, iceServers with [ or {")
		return
	}
	r.Kind = ICEServers
	turn := false
	for i, s := range list {
		turn = r.server(fmt.Sprintf("server %d", i+1), s, now) || turn
	}
	if len(list) == 0 || !turn {
		r.add(Warning, "no_turn", "there is no TURN server in it", "some peers are reached through a relay only: add one")
	}
	if len(list) > manyServers {
		r.add(Warning, "many_servers", fmt.Sprintf("%d servers: browsers ask each of them, which takes time", len(list)), "one STUN and one TURN server, with several URLs, will do")
	}
}

// server looks at one server and reports whether it has a URL of TURN.
func (r *Report) server(which string, s server, now time.Time) (turn bool) {
	raw, name := s["urls"], "urls"
	if raw == nil {
		if raw, name = s["url"], "url"; raw != nil {
			r.add(Warning, "url_old", which+" has url, which is the old name", `write "urls"`)
		}
	}
	var urls []string
	if one := ""; json.Unmarshal(raw, &one) == nil && raw != nil {
		urls = []string{one}
	} else if raw == nil || json.Unmarshal(raw, &urls) != nil || len(urls) == 0 {
		r.add(Error, "no_urls", which+" has no "+name, `write "urls": "turn:turn.example.com:3478", or a list of such`)
		return false
	}
	for _, u := range urls {
		turn = r.url(u) || turn
	}
	for _, wrong := range []string{"credentials", "password", "pass", "user", "login"} {
		if _, ok := s[wrong]; ok {
			right := "credential"
			if wrong == "user" || wrong == "login" {
				right = "username"
			}
			r.add(Error, "wrong_name", fmt.Sprintf("%s has %q, which browsers do not know", which, wrong), fmt.Sprintf("write %q", right))
		}
	}
	if turn {
		r.account(which, s, now)
	}
	return turn
}

// account looks at the username and the credential of a TURN server.
func (r *Report) account(which string, s server, now time.Time) {
	var username, credential string
	if json.Unmarshal(s["username"], &username) != nil || username == "" {
		r.add(Error, "no_username", which+" is a TURN server without a username", "browsers refuse it; take both username and credential from GET /v1/ice")
	}
	if json.Unmarshal(s["credential"], &credential) != nil || credential == "" {
		r.add(Error, "no_credential", which+" is a TURN server without a credential", "browsers refuse it; take both username and credential from GET /v1/ice")
	}
	until, _, _ := strings.Cut(username, ":")
	n, err := strconv.ParseInt(until, 10, 64)
	if err != nil || len(until) < 9 {
		return
	}
	if len(until) >= 12 {
		r.add(Error, "expiry_milliseconds", "the username of "+which+" begins with a time in milliseconds", "TURN servers read seconds since 1970: divide by 1000")
		return
	}
	end := time.Unix(n, 0).UTC()
	switch left := end.Sub(now); {
	case left <= 0:
		r.add(Error, "expired", fmt.Sprintf("the credential of %s has expired, at %s", which, end.Format(time.RFC3339)), "ask for fresh ones before each call; do not write them into the page")
	case left < 10*time.Minute:
		r.add(Warning, "expires_soon", fmt.Sprintf("the credential of %s expires at %s", which, end.Format(time.RFC3339)), "ask for fresh ones before each call")
	default:
		r.add(Info, "expires", fmt.Sprintf("the credential of %s is good until %s", which, end.Format(time.RFC3339)), "")
	}
}

// url looks at one URL (RFC 7064, RFC 7065) and reports whether it is one of TURN.
func (r *Report) url(u string) (turn bool) {
	scheme, rest, ok := strings.Cut(u, ":")
	if !ok || strings.Contains(scheme, ".") {
		r.add(Error, "url_scheme", fmt.Sprintf("%.100q has no scheme", u), "write stun:, turn: or turns: before the host")
		return false
	}
	turn = scheme == "turn" || scheme == "turns"
	if !turn && scheme != "stun" && scheme != "stuns" {
		r.add(Error, "url_scheme", fmt.Sprintf("%.20q is no scheme of an ICE server", scheme), "write stun:, turn: or turns: before the host")
		return false
	}
	if strings.HasPrefix(rest, "//") {
		r.add(Error, "url_slashes", fmt.Sprintf("%.100q has slashes, which these URLs do not have", u), "write "+scheme+":"+strings.TrimLeft(rest, "/"))
		return turn
	}
	at, query, asked := strings.Cut(rest, "?")
	switch {
	case asked && !turn:
		r.add(Error, "url_query", fmt.Sprintf("%.100q: a STUN URL has no query", u), "leave out what begins with ?")
	case asked && query != "transport=udp" && query != "transport=tcp":
		r.add(Error, "url_query", fmt.Sprintf("%.100q: only ?transport=udp and ?transport=tcp exist", u), "TLS is the scheme turns:")
	}
	r.host(u, scheme, at)
	return turn
}

func (r *Report) host(u, scheme, at string) {
	host, port := at, ""
	if i := strings.LastIndexByte(at, ':'); i >= 0 && !strings.HasSuffix(at, "]") && (strings.HasPrefix(at, "[") || strings.Count(at, ":") == 1) {
		host, port = at[:i], at[i+1:]
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		r.add(Error, "url_port", fmt.Sprintf("%.100q: %.20q is no port", u, port), "a port is a number from 1 to 65535")
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	switch {
	case host == "":
		r.add(Error, "url_host", fmt.Sprintf("%.100q names no host", u), "write the server's name after the scheme")
	case strings.ContainsAny(host, "/@ "):
		r.add(Error, "url_host", fmt.Sprintf("%.100q: %.60q is no host", u, host), "username and credential are members of their own")
	case err == nil && addr.Is6() && !strings.HasPrefix(host, "["):
		r.add(Error, "url_host", fmt.Sprintf("%.100q: an IPv6 address stands in brackets", u), "write "+scheme+":["+addr.String()+"]")
	case err == nil && strings.HasSuffix(scheme, "s"):
		r.add(Warning, "url_address", fmt.Sprintf("%.100q: certificates are for names, and browsers refuse most for an address", u), "write the name that the certificate has")
	case err == nil && (addr.IsLoopback() || addr.IsPrivate()), host == "localhost":
		r.add(Warning, "url_private", fmt.Sprintf("%.100q is reached from this network or machine only", u), "write the server's public name")
	}
}
