package main

import (
	"crypto/tls"
	"log/slog"
	"net/netip"

	"turnkey/configs"
	"turnkey/web/certs"
)

// openCertificate loads the certificate, nil if none is set.
func openCertificate(cfg configs.Config, log *slog.Logger) (*certs.Files, error) {
	if cfg.TLSCert == "" {
		return nil, nil
	}
	return certs.Open(certs.Config{Cert: cfg.TLSCert, Key: cfg.TLSKey, Log: log})
}

func tlsConfig(cert *certs.Files) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.GetCertificate}
}

// isName tells whether host can be in a certificate that everybody trusts, and
// so in a turns: URL.
func isName(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil
}

// checkCertificate warns if clients will refuse the certificate.
func (s *server) checkCertificate() {
	if s.cert == nil {
		return
	}
	host := s.around.host()
	if !isName(host) {
		s.log.Warn("no turns: URL is handed out: a certificate needs a name; set TURNKEY_HOST", "host", host)
	} else if err := s.cert.Leaf().VerifyHostname(host); err != nil {
		s.log.Warn("clients will refuse the certificate: it is not for TURNKEY_HOST; correct TURNKEY_HOST or TURNKEY_TLS_CERT", "error", err)
	}
}
