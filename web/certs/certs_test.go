package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// authority signs certificates of tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate for name; without a parent it is an authority of its own.
func issue(t *testing.T, parent *authority, name string, notAfter time.Time) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: notAfter.Add(-90 * day), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
	}
	signer := &authority{template, key}
	if parent != nil {
		signer = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, &key.PublicKey, signer.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func certPEM(chain ...*authority) []byte {
	var b bytes.Buffer
	for _, a := range chain {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	}
	return b.Bytes()
}

func keyPEM(t *testing.T, a *authority) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// files is a pair in a directory of the test, and its log.
type files struct {
	cert, key string
	log       bytes.Buffer
}

func (f *files) write(t *testing.T, cert, key []byte) {
	t.Helper()
	for path, b := range map[string][]byte{f.cert: cert, f.key: key} {
		if b == nil {
			continue
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func newFiles(t *testing.T) *files {
	dir := t.TempDir()
	return &files{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
}

func (f *files) open(t *testing.T) *Files {
	t.Helper()
	c, err := Open(Config{Cert: f.cert, Key: f.key, Log: slog.New(slog.NewTextHandler(&f.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// lines counts the lines of the log that hold text.
func (f *files) lines(text string) (n int) {
	for line := range strings.Lines(f.log.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func TestNewFilesAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(60 * day)
		a, b := issue(t, nil, "a.example", end), issue(t, nil, "b.example", end)
		f := newFiles(t)
		f.write(t, certPEM(a), keyPEM(t, a))
		c := f.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.Watch(ctx)
		if got := c.Leaf().DNSNames[0]; got != "a.example" {
			t.Fatalf("got %s, want a.example", got)
		}

		f.write(t, certPEM(b), nil) // half of the change
		time.Sleep(DefaultEvery)
		synctest.Wait()
		if got := c.Leaf().DNSNames[0]; got != "a.example" || f.lines("level=ERROR") != 0 {
			t.Errorf("with one file of two: got %s and log %q, want a.example and no error yet", got, &f.log)
		}
		f.write(t, nil, keyPEM(t, b))
		time.Sleep(DefaultEvery)
		synctest.Wait()
		if got := c.Leaf().DNSNames[0]; got != "b.example" || f.lines("b.example") != 1 {
			t.Errorf("got %s and log %q, want b.example and a line about it", got, &f.log)
		}
	})
}

func TestBrokenPairIsToldOnceAndTheOldStays(t *testing.T) {
	end := time.Now().Add(60 * day)
	a, b := issue(t, nil, "a.example", end), issue(t, nil, "b.example", end)
	key := keyPEM(t, a)
	for name, damage := range map[string]func(*files){
		"key of another": func(f *files) { f.write(t, nil, keyPEM(t, b)) },
		"no PEM":         func(f *files) { f.write(t, []byte("nothing"), nil) },
		"cut off":        func(f *files) { f.write(t, nil, key[:len(key)/2]) },
		"empty":          func(f *files) { f.write(t, []byte{}, []byte{}) },
		"too large":      func(f *files) { f.write(t, make([]byte, maxFile+1), nil) },
		"gone":           func(f *files) { os.Remove(f.cert) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFiles(t)
			f.write(t, certPEM(a), key)
			c := f.open(t)
			damage(f)
			for range 5 {
				c.look(time.Now())
			}
			if got := c.Leaf().DNSNames[0]; got != "a.example" {
				t.Errorf("got %s, want the old certificate", got)
			}
			if got := f.lines("level=ERROR"); got != 1 || f.lines("TURNKEY_TLS_CERT") != 1 {
				t.Errorf("got %d errors, want one that names the setting:\n%s", got, &f.log)
			}
			f.write(t, certPEM(b), keyPEM(t, b))
			c.look(time.Now())
			if got := c.Leaf().DNSNames[0]; got != "b.example" {
				t.Errorf("after the repair: got %s, want the new certificate", got)
			}
		})
	}
}

func TestWholeChainIsServed(t *testing.T) {
	end := time.Now().Add(60 * day)
	root := issue(t, nil, "root", end)
	between := issue(t, root, "between", end)
	leaf := issue(t, between, "turn.example.com", end)
	f := newFiles(t)
	f.write(t, certPEM(leaf, between), keyPEM(t, leaf))
	c := f.open(t)

	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	here, there := net.Pipe()
	go func() {
		server := tls.Server(there, &tls.Config{GetCertificate: c.GetCertificate})
		_, _ = io.Copy(io.Discard, server)
		server.Close()
	}()
	client := tls.Client(here, &tls.Config{RootCAs: roots, ServerName: "turn.example.com"})
	defer client.Close()
	if err := client.Handshake(); err != nil {
		t.Fatalf("got %v, want a chain that leads to the root", err)
	}
	if got := len(client.ConnectionState().PeerCertificates); got != 2 {
		t.Errorf("got %d certificates, want 2", got)
	}
}

func TestDaysLeftAreTold(t *testing.T) {
	for _, tt := range []struct {
		left  time.Duration
		level string
		days  string
	}{
		{60*day + time.Hour, "INFO", "daysLeft=60"},
		{14*day + time.Hour, "INFO", "daysLeft=14"},
		{14*day - time.Hour, "WARN", "daysLeft=13"},
		{-time.Hour, "ERROR", "expired"},
	} {
		now := time.Now()
		a := issue(t, nil, "a.example", now.Add(tt.left))
		f := newFiles(t)
		f.write(t, certPEM(a), keyPEM(t, a))
		c := f.open(t)
		if f.lines("level="+tt.level) != 1 || f.lines(tt.days) != 1 {
			t.Errorf("%v before the end: got %q, want level %s and %s", tt.left, &f.log, tt.level, tt.days)
		}
		c.look(now.Add(23 * time.Hour))
		if got := f.lines("notAfter"); got != 1 {
			t.Errorf("got %d lines within a day, want 1", got)
		}
		c.look(now.Add(25 * time.Hour))
		if got := f.lines("notAfter"); got != 2 {
			t.Errorf("got %d lines after a day, want 2", got)
		}
	}
}

func TestOpenNamesTheSettings(t *testing.T) {
	f := newFiles(t)
	_, err := Open(Config{Cert: f.cert, Key: f.key})
	if err == nil || !strings.Contains(err.Error(), "TURNKEY_TLS_CERT") || !strings.Contains(err.Error(), f.cert) {
		t.Errorf("got %v, want the file and the setting", err)
	}
}
