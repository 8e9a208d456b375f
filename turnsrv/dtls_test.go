package turnsrv

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/stun/v3"
	"turnkey/turnsrv/front"
)

// secure starts a server that is reached by dtls, or by tls.
func secure(t *testing.T, transport string) (f *fixture, at net.Addr) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	get := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
	f = start(t, func(c *Config) {
		allowLoopback(c)
		var l net.Listener
		if transport == "dtls" {
			socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l = front.DTLS(socket, get, nil, nil)
		} else if l, err = tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{GetCertificate: get}); err != nil {
			t.Fatal(err)
		}
		at = l.Addr()
		c.Listeners = append(c.Listeners, Listener{l, transport})
	})
	return f, at
}

func (f *fixture) dtlsWire(t *testing.T, at net.Addr) *wire {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := dtls.ClientWithOptions(conn, at, dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		t.Fatal(err)
	}
	w := &wire{Conn: c, t: t, realm: DefaultRealm}
	w.username, w.password = f.credential(t, time.Hour)
	return w
}

// With DTLS a message ends where its datagram does, so nothing has to be
// padded, and nothing may wait for padding (RFC 8656, section 12.5).
func TestDTLSRelaysMessagesOfAnyLength(t *testing.T) {
	f, at := secure(t, "dtls")
	peer := echo(t)
	w := f.dtlsWire(t, at).challenge()
	w.allocate()
	if got := code(w.call(stun.MethodChannelBind, channel(0x4000), peerAttr(peer.LocalAddr().String()))); got != 0 {
		t.Fatalf("ChannelBind: got %d", got)
	}
	for n := 1; n <= 7; n++ {
		payload := bytes.Repeat([]byte{byte(n)}, n)
		w.send(append([]byte{0x40, 0x00, 0, byte(n)}, payload...))
		got, err := w.frame(5 * time.Second)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if len(got) < 4+n || binary.BigEndian.Uint16(got[2:]) != uint16(n) || !bytes.Equal(got[4:4+n], payload) {
			t.Errorf("%d bytes: got %x", n, got)
		}
	}
	sessions := f.Sessions()
	if len(sessions) != 1 || sessions[0].Transport != "dtls" {
		t.Errorf("got %+v, want one session over dtls", sessions)
	}
}

func TestDTLSHalfHandshakesDoNotStopOthers(t *testing.T) {
	f, at := secure(t, "dtls")
	w := f.dtlsWire(t, at).challenge()
	for range 100 {
		c, err := net.Dial("udp4", at.String())
		if err != nil {
			t.Fatal(err)
		}
		half, err := dtls.ClientWithOptions(&silent{c.(*net.UDPConn)}, at, dtls.WithInsecureSkipVerify(true))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_ = half.HandshakeContext(ctx) // its first flight, and then nothing
		cancel()
		half.Close()
	}
	w.allocate()
}

// silent is a connected socket on which nothing is heard.
type silent struct{ *net.UDPConn }

func (s *silent) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		if _, err := s.Read(b); err != nil {
			return 0, nil, err
		}
	}
}

func (s *silent) WriteTo(b []byte, _ net.Addr) (int, error) { return s.Write(b) }

func TestTLSRelays(t *testing.T) {
	f, at := secure(t, "tls")
	c, err := tls.Dial("tcp4", at.String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := &wire{Conn: c, t: t, realm: DefaultRealm}
	w.username, w.password = f.credential(t, time.Hour)
	w.challenge().allocate()
	if s := f.Sessions(); len(s) != 1 || s[0].Transport != "tls" {
		t.Errorf("got %+v, want one session over tls", s)
	}
}
