// Package certs serves a TLS certificate from two PEM files and follows them
// while the server runs: who renews the files needs to restart nothing.
//
//	f, err := certs.Open(certs.Config{Cert: "fullchain.pem", Key: "privkey.pem"})
//	go f.Watch(ctx)
//	config := &tls.Config{GetCertificate: f.GetCertificate}
//
// The certificate file holds the server's certificate first and the chain that
// leads to its authority after it; all of it is sent to clients. New contents
// are served from the next handshake on. A pair that cannot be used is told to
// the operator once, and the old one stays in service.
package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

const (
	// DefaultEvery is how often the files are read where Config does not say.
	DefaultEvery = 5 * time.Second
	// warnDays is from how many days before its end on a certificate is warned
	// of. Certificates of 90 days are renewed 30 days before it.
	warnDays = 14
	day      = 24 * time.Hour
	maxFile  = 1 << 20 // bytes; a chain with its keys has some kilobytes
)

// Config says which files, and who is told. Cert and Key are required.
type Config struct {
	// Cert is the file with the certificate chain, Key the one with its private
	// key, both in PEM.
	Cert, Key string
	// Every is how often the files are looked at; 0 means DefaultEvery.
	Every time.Duration
	// Log gets Info when a certificate is loaded and once a day, Warn from 14
	// days before its end on, and Error when it has ended or the files cannot be
	// used. Nil discards.
	Log *slog.Logger
}

// Files is a certificate from files. Its methods may be called at the same time.
type Files struct {
	Config
	current atomic.Pointer[tls.Certificate]

	// Of Watch alone.
	loaded   [sha256.Size]byte // the contents that current was made of
	refused  [sha256.Size]byte // the contents that could not be used
	reported bool              // refused was told to the operator
	told     time.Time         // when the days left were
}

// Open reads the files. The error names the setting and what to do about it.
func Open(c Config) (*Files, error) {
	if c.Every == 0 {
		c.Every = DefaultEvery
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	f := &Files{Config: c}
	pair, err := f.read()
	if err == nil {
		err = f.use(pair)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; check TURNKEY_TLS_CERT and TURNKEY_TLS_KEY", err)
	}
	f.tell(time.Now())
	return f, nil
}

// GetCertificate returns the certificate for every name, as tls.Config asks.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.current.Load(), nil
}

// Leaf returns the certificate that is served now; its NotAfter is its end.
func (f *Files) Leaf() *x509.Certificate { return f.current.Load().Leaf }

// Watch follows the files until ctx is done. Only one Watch may run.
func (f *Files) Watch(ctx context.Context) {
	ticker := time.NewTicker(f.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			f.look(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// look reads the files, serves them if they are new, and tells the days left
// once a day. The two files cannot change at the same moment, so a pair that
// does not fit is a fault only if it is found a second time.
func (f *Files) look(now time.Time) {
	pair, err := f.read()
	id := pair.id(err)
	if id == f.loaded {
		f.refused, f.reported = [sha256.Size]byte{}, false
	} else if id != f.refused || !f.reported {
		if err == nil {
			err = f.use(pair)
		}
		switch {
		case err == nil:
			f.told = time.Time{}
		case id == f.refused:
			f.reported = true
			f.Log.Error("certificate cannot be loaded, the old one is served: check TURNKEY_TLS_CERT and TURNKEY_TLS_KEY",
				"error", err, "notAfter", f.Leaf().NotAfter)
		default:
			f.refused, f.reported = id, false
		}
	}
	if now.Sub(f.told) >= day {
		f.tell(now)
	}
}

// tell logs how long the certificate is good.
func (f *Files) tell(now time.Time) {
	f.told = now
	leaf := f.Leaf()
	left := leaf.NotAfter.Sub(now)
	level, text := slog.LevelInfo, "certificate in service"
	switch {
	case left <= 0:
		level, text = slog.LevelError, "certificate has expired, clients refuse it: renew TURNKEY_TLS_CERT"
	case left < warnDays*day:
		level, text = slog.LevelWarn, "certificate expires soon: renew TURNKEY_TLS_CERT"
	}
	f.Log.Log(context.Background(), level, text, "file", f.Cert, "names", leaf.DNSNames, "notAfter", leaf.NotAfter, "daysLeft", int(left/day))
}

// contents are the bytes of the two files.
type contents struct{ cert, key []byte }

// id stands for the contents, or for the reason that there are none.
func (c contents) id(err error) [sha256.Size]byte {
	if err != nil {
		return sha256.Sum256([]byte(err.Error()))
	}
	return sha256.Sum256(bytes.Join([][]byte{c.cert, c.key}, []byte{0}))
}

func (f *Files) read() (c contents, err error) {
	if c.cert, err = readFile(f.Cert); err != nil {
		return contents{}, fmt.Errorf("read certificate: %w", err)
	}
	if c.key, err = readFile(f.Key); err != nil {
		return contents{}, fmt.Errorf("read key of the certificate: %w", err)
	}
	return c, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = errors.New(path + ": larger than 1 MiB")
	}
	return b, err
}

// use serves the certificate in c from now on.
func (f *Files) use(c contents) error {
	pair, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("load certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	f.current.Store(&pair)
	f.loaded = c.id(nil)
	return nil
}
