//go:build linux

package nat

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Servers with a certificate.
const (
	goodTLS  = "203.0.113.50"
	soonTLS  = "203.0.113.51" // its certificate ends in five days
	oldTLS   = "203.0.113.52" // its certificate ended yesterday
	otherTLS = "203.0.113.53" // its certificate is for another name
	cutTLS   = "203.0.113.54" // shows its certificate without the intermediate one
	dtlsAPI  = "203.0.113.55" // hands out a URL of TURN over DTLS on the good one
)

func TestCheckNamesWhatIsWrongWithACertificate(t *testing.T) {
	w := newWorld(t)
	root := issue(t, nil, "Lab Root", 90*24*time.Hour)
	middle := issue(t, root, "Lab Intermediate", 90*24*time.Hour)
	day := 24 * time.Hour
	w.elsewhere(t, "certificates", func() {
		w.secure(t, goodTLS, "good.lab", issue(t, middle, "good.lab", 60*day+time.Hour), middle)
		w.secure(t, soonTLS, "soon.lab", issue(t, middle, "soon.lab", 5*day+time.Hour), middle)
		w.secure(t, oldTLS, "old.lab", issue(t, middle, "old.lab", -day-time.Hour), middle)
		w.secure(t, otherTLS, "other.lab", issue(t, middle, "nobody.lab", 60*day), middle)
		w.secure(t, cutTLS, "cut.lab", issue(t, middle, "cut.lab", 60*day))
		w.handOut(t, dtlsAPI, 0, time.Hour, "turn turns:good.lab:5349?transport=udp")
	}, goodTLS, soonTLS, oldTLS, otherTLS, cutTLS, dtlsAPI)
	silent := []string{"http", "turn", "websocket"}
	w.check(t, writePEM(t, root), []checkCase{
		{name: "all is well", host: "good.lab"},
		{name: "by its address, which the certificate is not for", host: goodTLS},
		{name: "DTLS", host: dtlsAPI + ":8080"},
		{name: "DTLS dropped", host: dtlsAPI + ":8080", rules: "udp dport 5349 drop",
			want: want{failed: map[string]string{"turn turns:good.lab:5349?transport=udp": "connect open UDP port 5349"}, notTested: []string{"relay_ports"}}},
		{name: "five days left", host: "soon.lab",
			want: want{warned: map[string]string{"certificate soon.lab:443": "5 days left", "certificate soon.lab:5349": "5 days left"}}},
		{name: "expired", host: "https://old.lab",
			want: want{failed: map[string]string{"certificate old.lab:443": "it expired 25 hours ago"}, notTested: silent}},
		{name: "for another name", host: "https://other.lab",
			want: want{failed: map[string]string{"certificate other.lab:443": "it is for nobody.lab, not for other.lab"}, notTested: silent}},
		{name: "incomplete chain", host: "https://cut.lab",
			want: want{failed: map[string]string{"certificate cut.lab:443": "the chain is incomplete: the certificate of CN=Lab Intermediate, which signed the last one shown, is missing; serve the full chain (fullchain.pem"}, notTested: silent}},
	})
}

// secure adds a server with a certificate and those that lead to its authority.
func (w *world) secure(t *testing.T, ip, name string, chain ...*authority) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(chain[0].key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		t.Fatal(err)
	}
	w.serve(t, ip, secret, "TURNKEY_LISTEN="+ip, "TURNKEY_PUBLIC_IP="+ip, "TURNKEY_HOST="+name,
		"TURNKEY_TLS_CERT="+writePEM(t, chain...), "TURNKEY_TLS_KEY="+keyFile, "TURNKEY_HTTPS="+ip+":443")
}

// authority is a certificate with its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate that parent signs; nil is itself.
func issue(t *testing.T, parent *authority, name string, left time.Duration) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-30 * 24 * time.Hour), NotAfter: time.Now().Add(left),
		IsCA: parent == nil || parent.cert.Subject.CommonName == "Lab Root", BasicConstraintsValid: true,
	}}
	if parent == nil {
		parent = a
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, parent.cert, &key.PublicKey, parent.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// writePEM writes certificates to a file.
func writePEM(t *testing.T, chain ...*authority) (file string) {
	t.Helper()
	var text []byte
	for _, a := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	file = filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
