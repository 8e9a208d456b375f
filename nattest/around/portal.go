package around

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// nobody is an address that no machine has (RFC 5737): only something in
// between can answer there. It is not looked for further than a trace goes.
var nobody = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 80)

// portal asks the server over plain HTTP, where its API did not answer. An
// answer that is not the server's may come from a captive portal or be that
// of another web server; one in the name of nobody settles it.
func (c *Config) portal(ctx context.Context) Finding {
	if c.API {
		return Finding{No, "the server's own HTTP API answered"}
	}
	ctx, cancel := context.WithTimeout(ctx, 1200*time.Millisecond)
	defer cancel()
	nonce := rand.Text()
	control := make(chan answer, 1)
	go func() { control <- c.inPlaceOfNobody(ctx, nonce) }()
	own := plain(ctx, c.DialContext, c.Host, nonce)
	return judgePortal(own, <-control, c.Host)
}

// answer is what came back over plain HTTP.
type answer struct {
	status   int // 0: nothing
	location string
}

func (c *Config) inPlaceOfNobody(ctx context.Context, nonce string) answer {
	if c.Near == nil {
		return answer{}
	}
	near := func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Near(ctx, nobody, maxTTL) }
	return plain(ctx, near, nobody.Addr().String(), nonce)
}

// plain asks a host for a document that no other web server has.
func plain(ctx context.Context, dial dialFunc, host, nonce string) answer {
	client := &http.Client{
		Transport:     &http.Transport{DialContext: within(ctx, dial), DisableKeepAlives: true, MaxResponseHeaderBytes: 8 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	at := url.URL{Scheme: "http", Host: host, Path: "/nattest.json", RawQuery: "challenge=" + nonce}
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		at.Host = net.JoinHostPort(host, "80")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return answer{}
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	return answer{resp.StatusCode, resp.Header.Get("Location")}
}

// judgePortal decides from the answers in the name of the server and of
// nobody. A proxy that cannot reach nobody says so with 5xx.
func judgePortal(own, control answer, host string) Finding {
	caught := func(a answer) bool {
		return a.status >= 200 && a.status < 400 || a.status == http.StatusNetworkAuthenticationRequired
	}
	switch {
	case own.status == http.StatusNetworkAuthenticationRequired:
		return Finding{Yes, "this network wants a login: it answers HTTP 511 (RFC 6585) in the server's place" + leads(own)}
	case caught(control):
		return Finding{Yes, fmt.Sprintf("this network answers HTTP in the place of any address (HTTP %d)%s; log in with a browser first", control.status, leads(control))}
	case own.status != 0:
		return Finding{Unknown, fmt.Sprintf("http://%s answers HTTP %d%s: another web server, or a network that wants a login", host, own.status, leads(own))}
	}
	return Finding{Unknown, "no HTTP answer came, neither of the server nor of a captive portal"}
}

// leads says where an answer sends the browser.
func leads(a answer) string {
	u, err := url.Parse(a.location)
	if err != nil || u.Host == "" {
		return ""
	}
	return " and leads to " + clean(u.Host)
}

// Portal names a captive portal, "" if none was found. r may be nil.
func (r *Report) Portal() string {
	if r == nil || r.CaptivePortal.State != Yes {
		return ""
	}
	return "captive portal: " + r.CaptivePortal.Why
}
