package nattest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPlain(t *testing.T) {
	dial := func(err error) error {
		return &url.Error{Op: "Get", URL: "http://203.0.113.10:8080/v1/ice", Err: &net.OpError{Op: "dial", Net: "tcp", Err: err}}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, "no answer"},
		{context.DeadlineExceeded, "no answer"},
		{dial(os.ErrDeadlineExceeded), "no answer"},
		{dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), "the connection was refused"},
		{dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), "no route"},
		{dial(os.NewSyscallError("connect", syscall.ENETUNREACH)), "no route"},
		{dial(os.NewSyscallError("read", syscall.ECONNRESET)), "the connection was closed"},
		{dial(os.NewSyscallError("sendto", syscall.EPERM)), "this machine does not permit it (a firewall of its own?)"},
		{dial(&net.DNSError{Name: "x", IsNotFound: true}), "the name does not exist"},
		{dial(&net.DNSError{Name: "x", IsTimeout: true}), "DNS does not answer"},
		{fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), "the connection was closed"},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "what answers there does not speak TLS"},
		{x509.HostnameError{Host: "a.test", Certificate: &x509.Certificate{}}, "its certificate is not valid for a.test"},
		{x509.CertificateInvalidError{Reason: x509.Expired}, "its certificate has expired, or is not valid yet"},
		{&url.Error{Op: "Get", URL: "http://a", Err: errors.New("odd\x1b")}, "odd"},
	} {
		if got := plain(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}

// The errors that net/http and crypto/tls really give, not those of a table.
func TestPlainOfRealConnections(t *testing.T) {
	secure, clear := httptest.NewUnstartedServer(nil), httptest.NewServer(nil)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	defer clear.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for where, want := range map[string]string{
		secure.URL: "its certificate is not signed by an authority that this machine trusts",
		gone.URL:   "the connection was refused",
		"https" + strings.TrimPrefix(clear.URL, "http"): "what answers there does not speak TLS",
	} {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool()}, DisableKeepAlives: true}}
		if _, err := client.Get(where); plain(err) != want {
			t.Errorf("%s: got %q for %v, want %q", where, plain(err), err, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "1 second", 119 * time.Second: "119 seconds", 5 * time.Minute: "5 minutes",
		-24 * time.Hour: "24 hours", 72 * time.Hour: "3 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}
