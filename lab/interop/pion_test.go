//go:build linux

package interop

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/turn/v4"
)

// sign makes a credential by the recipe that TURN servers share, apart from
// the program's own code.
func sign(expiry time.Time, label string) credential {
	username := fmt.Sprintf("%d:%s", expiry.Unix(), label)
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(username))
	return credential{username, base64.StdEncoding.EncodeToString(mac.Sum(nil))}
}

// pion returns pion's TURN client on the client's host.
func (w world) pion(t *testing.T, network string, c credential) *turn.Client {
	t.Helper()
	const server = serverIP + ":3478"
	var conn net.PacketConn
	err := w.client.Do(func() (err error) {
		if network == "udp" {
			conn, err = net.ListenPacket("udp4", clientIP+":0")
			return err
		}
		stream, err := net.Dial("tcp4", server)
		if err == nil {
			conn = turn.NewSTUNConn(stream)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: server, TURNServerAddr: server, Conn: conn,
		Username: c.username, Password: c.password,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		_ = conn.Close()
	})
	return client
}

func TestPionClientRelays(t *testing.T) {
	w := start(t, allowPeer)
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			relay, err := w.pion(t, network, w.mint(t, "pion")).Allocate()
			if err != nil {
				t.Fatal(err)
			}
			defer relay.Close()
			peer, err := net.ResolveUDPAddr("udp4", peerIP+":"+echoPort)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 1500)
			for i := range 100 { // the first goes as an indication, later ones by a channel
				want := fmt.Sprintf("message %d", i)
				if _, err := relay.WriteTo([]byte(want), peer); err != nil {
					t.Fatal(err)
				}
				_ = relay.SetReadDeadline(time.Now().Add(5 * time.Second))
				n, from, err := relay.ReadFrom(buf)
				if err != nil {
					t.Fatalf("%s: %v", want, err)
				}
				if got := string(buf[:n]); got != want || from.String() != peer.String() {
					t.Fatalf("got %q from %s, want %q from %s", got, from, want, peer)
				}
			}
		})
	}
}

func TestPionClientIsToldWhy(t *testing.T) {
	w := start(t)
	good := w.mint(t, "pion")
	tests := []struct {
		name string
		with credential
		want string
	}{
		{"wrong password", credential{good.username, "wrong"}, "401"},
		{"expired credential", sign(time.Now().Add(-time.Minute), "late"), "401"},
	}
	for _, tt := range tests {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(tt.name+"/"+network, func(t *testing.T) {
				_, err := w.pion(t, network, tt.with).Allocate()
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Allocate: got error %v, want one with %q", err, tt.want)
				}
			})
		}
	}
}
