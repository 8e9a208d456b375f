package nattest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// timedOut tells a passed deadline from other errors.
func timedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// plain is an error in words that need no Go; "no answer" where there is none.
func plain(err error) string {
	var dns *net.DNSError
	var header tls.RecordHeaderError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
		return "no answer"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the name does not exist"
	case errors.As(err, &dns) && dns.IsTimeout:
		return "DNS does not answer"
	case timedOut(err):
		return "no answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was closed"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route"
	case errors.Is(err, os.ErrPermission):
		return "this machine does not permit it (a firewall of its own?)"
	case errors.As(err, &header), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "what answers there does not speak TLS"
	case errors.As(err, &name):
		return "its certificate is not valid for " + Clean(name.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired, or is not valid yet"
	case errors.As(err, &unknown):
		return "its certificate is not signed by an authority that this machine trusts"
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return Clean(err.Error())
}

// span is a duration as people say it.
func span(d time.Duration) string {
	count := func(unit time.Duration, s string) string {
		n := int(d.Round(unit) / unit)
		return fmt.Sprintf("%d %s", n, plural(n, s))
	}
	switch d = d.Abs(); {
	case d < 2*time.Minute:
		return count(time.Second, "second")
	case d < 2*time.Hour:
		return count(time.Minute, "minute")
	case d < 48*time.Hour:
		return count(time.Hour, "hour")
	}
	return count(24*time.Hour, "day")
}
