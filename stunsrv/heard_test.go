package stunsrv

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// Answers are heard though nothing is said to them, on both kinds of socket.
func TestEveryBindingMessageIsHeard(t *testing.T) {
	type heard struct {
		datagram []byte
		from     netip.AddrPort
	}
	for name, serve := range map[string]func(net.PacketConn, Config){
		"serve": func(conn net.PacketConn, c Config) { _ = Serve(conn, c) },
		"wrap": func(conn net.PacketConn, c Config) {
			_, _, _ = Wrap(conn, c).ReadFrom(make([]byte, maxRead))
		},
	} {
		server, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		got := make(chan heard, 1)
		go serve(server, Config{Heard: func(b []byte, from netip.AddrPort) { got <- heard{bytes.Clone(b), from} }})
		peer, err := net.Dial("udp4", server.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		for _, typ := range []stun.MessageType{stun.BindingSuccess, stun.BindingRequest, stun.BindingError} {
			sent := build(t, typ)
			if _, err := peer.Write(sent); err != nil {
				t.Fatal(err)
			}
			select {
			case h := <-got:
				if !bytes.Equal(h.datagram, sent) || h.from != peer.LocalAddr().(*net.UDPAddr).AddrPort() {
					t.Errorf("%s: heard %x from %s, want %x from %s", name, h.datagram, h.from, sent, peer.LocalAddr())
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%s: %s was not heard", name, typ)
			}
		}
	}
}
