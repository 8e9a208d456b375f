package nattest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pion/stun/v3"
)

// Bounds on what a server may make this program do.
const (
	maxDocument  = 64 << 10 // bytes of one HTTP answer
	maxURLs      = 16       // TURN URLs verified
	maxEndpoints = 8        // STUN endpoints of one family
)

// facts is what the server's HTTP API told.
type facts struct {
	base    string        // where the API answered, "" when it did not
	at      string        // of the places where it did not, the one that err is of
	err     error         // why it did not
	status  int           // of GET /v1/ice
	refusal string        // why /v1/ice gave no servers
	clear   bool          // the key went over plain http
	urls    []turnURL     // the TURN URLs, in the server's order
	doc     document      // /nattest.json, zero when there is none
	skew    time.Duration // server's clock minus this machine's, from the Date header
	date    time.Time     // that header, zero when missing

	heard []netip.AddrPort // STUN endpoints that answered, known once all tests have ended
}

// turnURL is one URL of /v1/ice with its credential.
type turnURL struct {
	stun.URI
	username, password string
}

// discover asks every base in turn, the next one as soon as one has failed or
// has kept us waiting for 300 ms, and takes the first that is a turnkey server.
func (c *Config) discover(ctx context.Context, t target) facts {
	return c.find(ctx, t, func(document) {})
}

// patience is how long the server's HTTP may take to answer.
const patience = 3500 * time.Millisecond

// find is discover; early is told of each document as soon as it has come.
func (c *Config) find(ctx context.Context, t target, early func(document)) facts {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	results := make(chan facts, len(t.bases))
	failed := make(map[string]error, len(t.bases)) // by base
	started, ended := 0, 0
	var hedge <-chan time.Time
	start := func() {
		b := t.bases[started]
		started++
		hedge = time.After(300 * time.Millisecond)
		go func() { results <- c.ask(ctx, b, early) }()
	}
	var won *facts
	for start(); ended < started; {
		select {
		case f := <-results:
			ended++
			if f.base != "" && won == nil {
				won = &f
				cancel() // the others end, and are waited for
			} else if f.err != nil && won == nil {
				failed[f.at] = f.err
				if started < len(t.bases) {
					start()
				}
			}
		case <-hedge:
			hedge = nil
			if won == nil && started < len(t.bases) {
				start()
			}
		}
	}
	if won != nil {
		return *won
	}
	return failure(t.bases, failed)
}

// failure tells why the API answered nowhere: what the first place that answered
// said instead, else what became of the first one.
func failure(bases []base, failed map[string]error) facts {
	f := facts{at: bases[0].url, err: failed[bases[0].url]}
	for _, b := range bases {
		if err := failed[b.url]; err != nil && !silent(err) {
			return facts{at: b.url, err: err}
		}
	}
	return f
}

// silent says that nobody has answered.
func silent(err error) bool {
	return timedOut(err) || errors.Is(err, context.Canceled) || errors.Is(err, syscall.ECONNREFUSED) ||
		errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// ask fetches both documents from one base.
func (c *Config) ask(ctx context.Context, b base, early func(document)) facts {
	f := facts{at: b.url}
	key := c.Key
	if key != "" && !b.key {
		key = ""
		f.refusal = "the key is not sent over plain http to a name that may have https; to send it, name " + b.url
	}
	f.clear = key != "" && strings.HasPrefix(b.url, "http:")
	doc := make(chan document, 1)
	go func() {
		var d document
		if resp, body, err := c.get(ctx, b.url+"/nattest.json", ""); err == nil && resp.StatusCode == http.StatusOK {
			if d = parseNattest(body); d.read {
				early(d)
			}
		}
		doc <- d
	}()
	resp, body, err := c.get(ctx, b.url+"/v1/ice", key)
	if err != nil {
		f.err = err
		<-doc
		return f
	}
	if d, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		f.date, f.skew = d, time.Until(d).Round(time.Second)
	}
	f.status = resp.StatusCode
	urls, message, err := parseICE(resp.StatusCode, body)
	switch {
	case err != nil:
		f.err = fmt.Errorf("%s/v1/ice: %w", b.url, err)
	case resp.StatusCode == http.StatusOK:
		f.base, f.urls, f.refusal = b.url, urls, ""
	default:
		f.base = b.url
		if f.refusal == "" {
			f.refusal = iceRefusal(resp.StatusCode, key != "", message)
		}
	}
	f.doc = <-doc
	return f
}

func (c *Config) get(ctx context.Context, url, key string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	return resp, body, err
}

// stunEndpoints lists every address of the server with every STUN port, the
// endpoints of one address together. Notes say what could not be used.
func (c *Config) stunEndpoints(ctx context.Context, t target, f facts, addrs []netip.Addr) (eps []netip.AddrPort, notes []string) {
	list := f.doc.stun
	if len(list) == 0 {
		list = []string{":3478", ":3479"}
	}
	for _, s := range list {
		host, port, _ := net.SplitHostPort(s)
		as := addrs
		if host != "" && host != t.host {
			var err error
			if as, err = c.lookup(ctx, host); err != nil {
				notes = append(notes, "STUN host "+host+" could not be looked up: "+plain(err))
				continue
			}
		}
		for _, a := range as {
			ep, err := netip.ParseAddrPort(net.JoinHostPort(a.String(), port))
			if err == nil && !slices.Contains(eps, ep) {
				eps = append(eps, ep)
			}
		}
	}
	slices.SortStableFunc(eps, func(a, b netip.AddrPort) int { return a.Addr().Compare(b.Addr()) })
	return eps, notes
}

// only keeps the endpoints of one family, at most maxEndpoints.
func only(eps []netip.AddrPort, is func(netip.Addr) bool) []netip.AddrPort {
	var out []netip.AddrPort
	for _, ep := range eps {
		if is(ep.Addr()) && len(out) < maxEndpoints {
			out = append(out, ep)
		}
	}
	return out
}
