package nattest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/stun/v3"
)

// daysWarned is how many days before its end a certificate is warned of.
const daysWarned = 14

// checkCertificates looks at what each place that speaks TLS over TCP shows.
func (c *Config) checkCertificates(ctx context.Context, t target, f facts) []Item {
	type place struct{ host, port string }
	var places []place
	add := func(host, port string) {
		if p := (place{host, port}); !slices.Contains(places, p) {
			places = append(places, p)
		}
	}
	_, err := netip.ParseAddr(t.host)
	for _, b := range t.bases {
		if err == nil && f.base != "" && f.base != b.url {
			continue // guessed from an address that certificates need not be for, and not needed
		}
		if u, err := url.Parse(b.url); err == nil && u.Scheme == "https" {
			port := u.Port()
			if port == "" {
				port = "443"
			}
			add(u.Hostname(), port)
		}
	}
	for _, u := range f.urls {
		if u.IsSecure() && u.Proto == stun.ProtoTypeTCP {
			add(u.Host, strconv.Itoa(u.Port))
		}
	}
	items := make([]Item, len(places))
	var wg sync.WaitGroup
	for i, p := range places {
		wg.Go(func() { items[i] = c.checkCertificate(ctx, p.host, p.port) })
	}
	wg.Wait()
	// A place without TLS is what http or turn speaks of.
	return slices.DeleteFunc(items, func(it Item) bool { return it.Name == "" })
}

// checkCertificate shakes hands at the first address that lets it and judges
// the chain. The zero Item stands for a place that shows none.
func (c *Config) checkCertificate(ctx context.Context, host, port string) Item {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	addrs, err := c.lookup(ctx, host)
	if err != nil {
		return Item{}
	}
	for _, addr := range addrs {
		chain, err := c.chainAt(ctx, host, net.JoinHostPort(addr.String(), port))
		if err == nil && len(chain) > 0 {
			var roots *x509.CertPool
			if c.TLS != nil {
				roots = c.TLS.RootCAs
				if c.TLS.ServerName != "" {
					host = c.TLS.ServerName
				}
			}
			it := examine(chain, host, roots, time.Now())
			it.Name, it.Target = "certificate", net.JoinHostPort(host, port)
			return it
		}
	}
	return Item{}
}

// chainAt is what a server shows for a name, valid or not.
func (c *Config) chainAt(ctx context.Context, host, at string) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	conn, err := c.DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	cfg := &tls.Config{}
	if c.TLS != nil {
		cfg = c.TLS.Clone()
	}
	if cfg.ServerName == "" {
		if _, err := netip.ParseAddr(host); err != nil {
			cfg.ServerName = host
		}
	}
	cfg.InsecureSkipVerify = true // it is looked at, and nothing is sent
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return tc.ConnectionState().PeerCertificates, nil
}

// examine judges the chain that a server shows for a name: every fault of it.
func examine(chain []*x509.Certificate, host string, roots *x509.CertPool, now time.Time) Item {
	leaf := chain[0]
	var reasons, hints []string
	fault := func(hint, reason string, args ...any) {
		reasons, hints = append(reasons, fmt.Sprintf(reason, args...)), append(hints, hint)
	}
	within := now // a time at which the chain may be judged apart from its dates
	switch left := leaf.NotAfter.Sub(now); {
	case left < 0:
		fault("renew it, and see why that was not done", "it expired %s ago, on %s", span(left), leaf.NotAfter.UTC().Format(time.DateOnly))
		within = leaf.NotAfter.Add(-time.Second)
	case now.Before(leaf.NotBefore):
		fault("check the clocks of the server and of this machine", "it is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
		within = leaf.NotBefore.Add(time.Second)
	}
	if leaf.VerifyHostname(host) != nil {
		fault("get one for "+Clean(host)+", or use the name that it is for (TURNKEY_HOST)", "it is for %s, not for %s", names(leaf), Clean(host))
	}
	pool := x509.NewCertPool()
	for _, cert := range chain[1:] {
		pool.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: pool, CurrentTime: within})
	if err != nil {
		hint, reason := chainFault(chain, err)
		fault(hint, "%s", reason)
	}
	days := int(leaf.NotAfter.Sub(now) / (24 * time.Hour))
	it := Item{State: "ok", Detail: fmt.Sprintf("%d %s left", days, plural(days, "day"))}
	switch {
	case len(reasons) > 0:
		it = Item{State: "failed", Reason: strings.Join(reasons, "; "), Hint: strings.Join(slices.Compact(hints), "; ")}
	case days < daysWarned:
		it.State, it.Reason = "warning", it.Detail+", until "+leaf.NotAfter.UTC().Format(time.DateOnly)
		it.Hint = "renew it now, and see why that was not done by itself"
	}
	return it
}

// chainFault says why no chain leads to an authority that is trusted here.
func chainFault(chain []*x509.Certificate, err error) (hint, reason string) {
	var unknown x509.UnknownAuthorityError
	last := chain[len(chain)-1]
	issuer := Clean(last.Issuer.String())
	switch selfSigned := bytes.Equal(last.RawIssuer, last.RawSubject); {
	case !errors.As(err, &unknown):
		return "serve the chain that your authority gives out (fullchain.pem)", "its chain is not valid: " + plain(err)
	case selfSigned && len(chain) == 1:
		return "browsers need one of a public authority, Let's Encrypt for example", "it is self-signed"
	case selfSigned:
		return "browsers need one of a public authority; if this one is your own, trust it here", "this machine does not trust its authority, " + issuer
	}
	return "serve the full chain (fullchain.pem instead of cert.pem); if " + issuer + " is an authority of your own, trust it here",
		"the chain is incomplete: the certificate of " + issuer + ", which signed the last one shown, is missing"
}

// names lists what a certificate is for.
func names(leaf *x509.Certificate) string {
	list := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) == 0 {
		return "no name"
	}
	return Clean(strings.Join(list[:min(len(list), 3)], ", "))
}

// hintCertificate is the fix of a TLS handshake that failed.
func hintCertificate(err error, host string) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "the server needs a certificate valid for " + host + ", with its full chain (fullchain.pem)"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the certificate of " + host + " (TURNKEY_TLS_CERT); check this machine's clock, too"
	}
	return "the server needs a certificate valid for " + host
}
