package nattest

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode"
)

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		in, host string
		bases    []string // "+" before those that may get a key
	}{
		{"turn.example.org", "turn.example.org", []string{"+https://turn.example.org", "http://turn.example.org:8080"}},
		{"203.0.113.5", "203.0.113.5", []string{"+https://203.0.113.5", "+http://203.0.113.5:8080"}},
		{"localhost", "localhost", []string{"+https://localhost", "+http://localhost:8080"}},
		{"2001:db8::1", "2001:db8::1", []string{"+https://[2001:db8::1]", "+http://[2001:db8::1]:8080"}},
		{"[2001:db8::1]", "2001:db8::1", []string{"+https://[2001:db8::1]", "+http://[2001:db8::1]:8080"}},
		{"[2001:db8::1]:8080", "2001:db8::1", []string{"+http://[2001:db8::1]:8080"}},
		{"a.b:8080", "a.b", []string{"+http://a.b:8080"}},
		{"a.b:443", "a.b", []string{"+https://a.b"}},
		{"a.b:9000", "a.b", []string{"+https://a.b:9000", "http://a.b:9000"}},
		{"http://a.b:9000/", "a.b", []string{"+http://a.b:9000"}},
		{"https://a.b/turn/", "a.b", []string{"+https://a.b/turn"}},
	} {
		got, err := parseTarget(tt.in)
		var bases []string
		for _, b := range got.bases {
			bases = append(bases, map[bool]string{true: "+"}[b.key]+b.url)
		}
		if err != nil || got.host != tt.host || !slices.Equal(bases, tt.bases) {
			t.Errorf("%s: got %s, %v, %v; want %s, %v", tt.in, got.host, bases, err, tt.host, tt.bases)
		}
	}
	for _, in := range []string{
		"", " ", "a b", "a:0", "a:65536", "a:http", "ftp://a", "http://", "http://u:p@a", "http://a?x=1", "http://a#x", "http://a?",
		"a/b", "-a", ".a", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1", "a\nb", "ü.org", "[a", ":8080", "http://a:99999", strings.Repeat("a", 254),
	} {
		if got, err := parseTarget(in); err == nil {
			t.Errorf("%q: got %+v, want an error", in, got)
		} else if !strings.Contains(err.Error(), "turn.example.org") {
			t.Errorf("%q: got %q, want a hint", in, err)
		}
	}
}

// Of several places where HTTP may be, the one that answered tells what is
// wrong; else the first does.
func TestDiscoverTellsWhatMatters(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, tt := range map[string]struct {
		https, http func() (*http.Response, error)
		at, want    string
	}{
		"only https answers": {notFound, fails(refused), "https://a.test", "HTTP 404"},
		"only http answers":  {fails(refused), notFound, "http://a.test:8080", "HTTP 404"},
		"both answer":        {fails(x509.UnknownAuthorityError{}), notFound, "https://a.test", "authority"},
		"nothing answers":    {fails(os.ErrDeadlineExceeded), fails(refused), "https://a.test", "no answer"},
	} {
		c := Config{HTTP: &http.Client{Transport: whoAnswers(func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme == "https" {
				return tt.https()
			}
			return tt.http()
		})}}
		target, err := parseTarget("a.test")
		ok(err)
		f := c.discover(t.Context(), target)
		if it := c.checkHTTP(t.Context(), target, f)[0]; it.Target != tt.at || !strings.Contains(it.Reason, tt.want) {
			t.Errorf("%s: got %s: %s; want %s: %s", name, it.Target, it.Reason, tt.at, tt.want)
		}
	}
}

func notFound() (*http.Response, error) {
	return &http.Response{StatusCode: 404, Body: io.NopCloser(strings.NewReader(""))}, nil
}

func fails(err error) func() (*http.Response, error) {
	return func() (*http.Response, error) { return nil, err }
}

func TestParseICE(t *testing.T) {
	long := `{"iceServers":[` + strings.Repeat(`{"urls":"turn:a"},`, 40) + `{"urls":"turn:b"}]}`
	for _, tt := range []struct {
		status int
		body   string
		urls   []string
		bad    bool
	}{
		{200, `{"iceServers":[{"urls":["stun:a:3478","turn:a:3478?transport=tcp"]},{"urls":"turns:b"}]}`,
			[]string{"turn:a:3478?transport=tcp", "turns:b:5349?transport=tcp"}, false},
		{200, `{"iceServers":[]}`, nil, false},
		{200, `{"iceServers":[{"urls":["turn:a\u0000b","turn:","http://a","turn:a:0","turn:a:99999","turn:[fe80::1%25x]:3478"]}]}`, nil, false},
		{200, `{}`, nil, true},
		{200, `<html>`, nil, true},
		{404, `not found`, nil, true},
		{404, `{}`, nil, true},
		{403, `{"error":{"message":"no"}}`, nil, false},
		{200, long, slices.Repeat([]string{"turn:a:3478?transport=udp"}, maxURLs), false},
	} {
		got, _, err := parseICE(tt.status, []byte(tt.body))
		var urls []string
		for _, u := range got {
			urls = append(urls, u.String())
		}
		if !slices.Equal(urls, tt.urls) || (err != nil) != tt.bad {
			t.Errorf("%d %.80s: got %v, %v; want %v, error %t", tt.status, tt.body, urls, err, tt.urls, tt.bad)
		}
	}
}

// Why there are no credentials is said in the server's own words where it has some.
func TestRefusalOfCredentials(t *testing.T) {
	for _, tt := range []struct {
		status  int
		withKey bool
		message string
		want    []string
	}{
		{401, false, "this server wants a key", []string{"for want of a key", "-key"}},
		{403, false, "198.51.100.5 is not a private address", []string{"198.51.100.5 is not a private address", "TURNKEY_AUTH=key", "-key"}},
		{403, true, "no right", []string{"refuses this key", "no right"}},
		{429, true, "slowly", []string{"wait"}},
		{500, false, "sorry", []string{"HTTP 500", "sorry"}},
	} {
		got := iceRefusal(tt.status, tt.withKey, tt.message)
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%d, key %t: got %q, want %q in it", tt.status, tt.withKey, got, want)
			}
		}
	}
}

func TestParseNattest(t *testing.T) {
	for body, want := range map[string]document{
		`{"schema":1,"stun":["a:3478","[2001:db8::1]:3479",":1"],"more":1}`: {stun: []string{"a:3478", "[2001:db8::1]:3479", ":1"}},
		`{"schema":1,"stun":["a","a:0","a b:1",":x"]}`:                      {},
		`{"schema":1,"stun":[":1"],"relayPorts":"1-65535"}`:                 {stun: []string{":1"}, relayPorts: "1-65535"},
		`{"schema":1,"relayPorts":"70"}`:                                    {relayPorts: "70"},
		`{"schema":1,"relayPorts":"1-"}`:                                    {},
		`{"schema":1,"relayPorts":"1-2-3"}`:                                 {},
		`{"schema":1,"relayPorts":"1\u001b-2"}`:                             {},
		`{"schema":1,"relayPorts":7}`:                                       {},
		`{"schema":2,"stun":["a:3478"]}`:                                    {},
		`{"stun":["a:3478"]}`:                                               {},
		`[]`:                                                                {},
	} {
		if got := parseNattest([]byte(body)); !slices.Equal(got.stun, want.stun) || got.relayPorts != want.relayPorts {
			t.Errorf("%s: got %v, want %v", body, got, want)
		}
	}
}

func TestSTUNEndpoints(t *testing.T) {
	c := Config{Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "two.test" {
			return []netip.Addr{netip.MustParseAddr("203.0.113.20")}, nil
		}
		return nil, fmt.Errorf("no such host")
	}}
	addrs := []netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8::1")}
	got, notes := c.stunEndpoints(context.Background(), target{host: "a.test"}, facts{}, addrs)
	if want := "[203.0.113.10:3478 203.0.113.10:3479 [2001:db8::1]:3478 [2001:db8::1]:3479]"; fmt.Sprint(got) != want || notes != nil {
		t.Errorf("defaults: got %v, %v; want %s", got, notes, want)
	}
	f := facts{doc: document{stun: []string{"a.test:1", ":2", "two.test:1", "gone.test:1", "a.test:1"}}}
	got, notes = c.stunEndpoints(context.Background(), target{host: "a.test"}, f, addrs[:1])
	if want := "[203.0.113.10:1 203.0.113.10:2 203.0.113.20:1]"; fmt.Sprint(got) != want || len(notes) != 1 {
		t.Errorf("told: got %v, %v; want %s and a note", got, notes, want)
	}
}

func TestLookupBounds(t *testing.T) {
	c := Config{Resolve: func(context.Context, string) (out []netip.Addr, _ error) {
		for i := range 50 {
			out = append(out, netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i + 1)}), netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}),
				netip.AddrFrom16(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}).As16()))
		}
		return append(out, netip.IPv4Unspecified()), nil
	}}
	got, err := c.lookup(context.Background(), "x")
	if err != nil || len(got) != 2*maxAddrs || !got[0].Is4() || !got[maxAddrs].Is6() {
		t.Errorf("got %v, %v; want %d of each family, IPv4 first", got, err, maxAddrs)
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"turn.example.org", "[::1]:8080", "https://a.b/x", "http://%41:1/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTarget(s)
		if err == nil && (!validHost(got.host) || len(got.bases) == 0) {
			t.Errorf("%q: got %+v", s, got)
		}
		if err != nil && strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Errorf("%q: got control characters in %q", s, err)
		}
	})
}

func FuzzDocuments(f *testing.F) {
	f.Add(200, []byte(`{"iceServers":[{"urls":["turn:a:3478?transport=tcp"],"username":"1:a","credential":"x"}]}`))
	f.Add(403, []byte(`{"error":{"message":"no\u001b[2J"}}`))
	f.Add(200, []byte(`{"schema":1,"stun":["a:3478"]}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		urls, message, _ := parseICE(status, body)
		if len(urls) > maxURLs || strings.ContainsFunc(message, unicode.IsControl) {
			t.Errorf("got %d URLs, message %q", len(urls), message)
		}
		for _, u := range urls {
			if strings.ContainsFunc(u.String(), unicode.IsControl) || !validHost(u.Host) {
				t.Errorf("got URL %q", u)
			}
		}
		if d := parseNattest(body); len(d.stun) > maxEndpoints || len(d.relayPorts) > 11 {
			t.Errorf("got %d endpoints, relay ports %q", len(d.stun), d.relayPorts)
		}
	})
}
