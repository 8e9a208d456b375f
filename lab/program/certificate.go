//go:build linux

package program

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificate writes a self-signed certificate for a name, good for an hour,
// with its key, and returns the settings that have the program use it.
func Certificate(t testing.TB, name string) (env []string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range []struct {
		setting, name string
		block         pem.Block
	}{
		{"TURNKEY_TLS_CERT", "cert.pem", pem.Block{Type: "CERTIFICATE", Bytes: cert}},
		{"TURNKEY_TLS_KEY", "key.pem", pem.Block{Type: "PRIVATE KEY", Bytes: secret}},
	} {
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&f.block), 0o600); err != nil {
			t.Fatal(err)
		}
		env = append(env, f.setting+"="+path)
	}
	return env
}
