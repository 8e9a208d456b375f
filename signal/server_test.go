package signal

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

func TestTwoPeersExchangeEverythingInOrder(t *testing.T) {
	url := serve(t, New(Config{Admit: admitAll}))
	anna, bob, carol := enter(t, url, "r"), enter(t, url, "r"), enter(t, url, "other")
	anna.expect("peer-joined")
	var want []string
	for range 50 {
		for _, of := range []func(peer string) string{
			func(peer string) string { return describing(Offer, peer, 1) },
			func(peer string) string { return trickling(peer, 1, 1000+len(want)) },
			func(peer string) string {
				return fmt.Sprintf(`{"type":"message","peer":%q,"data":%d,"x":{"y":[1]}}`, peer, len(want))
			},
		} {
			bob.send(of(anna.id))
			want = append(want, of(bob.id))
		}
	}
	for _, w := range want {
		_, b, err := anna.ws.Read(patience(t))
		if err != nil || !sameJSON(t, b, []byte(w)) {
			t.Fatalf("got %s %v, want %s", b, err, w)
		}
	}
	carol.send(describing(Offer, anna.id, 2))
	carol.refused("peer_not_found", 0)
	_ = anna.ws.Close(websocket.StatusNormalClosure, "")
	if m := bob.expect("peer-left"); m["peer"] != anna.id || m["reason"] != "closed" {
		t.Errorf("got %v, want %s left, closed", m, anna.id)
	}
}

func TestMistakesAreAnsweredAndForgiven(t *testing.T) {
	url := serve(t, New(Config{Admit: admitAll}))
	c := dial(t, url, nil)
	c.send(`{"type":"ice","id":1}`)
	c.refused("not_joined", 0)
	c.send(`{"type":"offer","id":2}`)
	if m := c.refused("missing_field", 0); m["re"] != 2.0 {
		t.Errorf("got re %v, want 2", m["re"])
	}
	c.send(`not json`)
	c.refused("bad_json", 0)
	if err := c.ws.Write(patience(t), websocket.MessageBinary, []byte(`{"type":"ice"}`)); err != nil {
		t.Fatal(err)
	}
	c.refused("bad_json", 0)
	c.send(`{"type":"join","id":3,"room":"r"}`)
	c.expect("welcome")
	c.send(`{"type":"bye"}`)
	c.closed(closeBye)
}

// Whoever breaks a limit is told, closed and gone; nobody else notices.
func TestWhoBreaksALimitIsClosed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		send   func(c *client)
		code   string
		status websocket.StatusCode
	}{
		{"a flood of messages", func(c *client) {
			for range 2 * messageBurst {
				_ = c.ws.Write(context.Background(), websocket.MessageText, []byte(`{"type":"message","peer":"*","data":0}`))
			}
		}, "rate_limited", closeRate},
		{"a flood of pings", func(c *client) {
			_, _ = c.nc.Write(bytes.Repeat([]byte{0x89, 0x80, 0, 0, 0, 0}, 2*messageBurst))
		}, "rate_limited", closeRate},
		{"an oversized message", func(c *client) {
			_ = c.ws.Write(context.Background(), websocket.MessageText, []byte(`{"type":"ice","x":"`+strings.Repeat("x", maxMessage)+`"}`))
		}, "too_large", closeTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := serve(t, New(Config{Admit: admitAll}))
			other := enter(t, url, "r")
			bad := enter(t, url, "r")
			other.expect("peer-joined")
			go tt.send(bad)
			bad.refused(tt.code, tt.status)
			m := other.next()
			for m["type"] == "message" {
				m = other.next()
			}
			if m["type"] != "peer-left" || m["reason"] != "kicked" {
				t.Errorf("got %v, want peer-left, kicked", m)
			}
			third := enter(t, url, "r")
			other.expect("peer-joined")
			third.send(`{"type":"message","peer":"` + other.id + `","data":1}`)
			other.expect("message")
		})
	}
}

// A peer that stops reading is closed when its queue is full. The others
// receive everything meanwhile, and the slow one reads at last why.
func TestSlowReaderIsClosedAndNobodyWaits(t *testing.T) {
	url := serve(t, New(Config{Admit: admitAll}))
	sender, fast := enter(t, url, "r"), enter(t, url, "r")
	lazy := dial(t, url, nil)
	if err := lazy.nc.(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
		t.Fatal(err)
	}
	lazy.send(`{"type":"join","room":"r"}`)
	lazy.expect("welcome")
	sender.expect("peer-joined")
	sender.expect("peer-joined")
	fast.expect("peer-joined")
	big := strings.Repeat("x", 60<<10)
	left := false
	for i := 0; i < messageBurst-10 && !left; i++ {
		sender.send(fmt.Sprintf(`{"type":"message","peer":"*","data":[%d,%q]}`, i, big))
		m := fast.next()
		if m["type"] == "peer-left" {
			left = m["reason"] == "slow"
			m = fast.next()
		}
		if data, ok := m["data"].([]any); !ok || data[0] != float64(i) {
			t.Fatalf("after message %d the fast peer got %.100v", i, m)
		}
	}
	sender.send(`{"type":"message","peer":"` + fast.id + `","data":"end"}`)
	for m := fast.next(); m["data"] != "end"; m = fast.next() {
		left = left || m["type"] == "peer-left" && m["reason"] == "slow"
	}
	if !left {
		t.Fatal("the peer that does not read is still in the room")
	}
	if m := sender.expect("peer-left"); m["reason"] != "slow" {
		t.Errorf("got %v, want reason slow", m)
	}
	m := lazy.next()
	for m["type"] == "message" {
		m = lazy.next()
	}
	if m["code"] != "slow_consumer" {
		t.Fatalf("got %v, want error slow_consumer", m)
	}
	lazy.closed(closeSlow)
}

func TestShutdownSaysGoawayAndWaits(t *testing.T) {
	s := New(Config{Admit: admitAll})
	url := serve(t, s)
	a, b, waiting := enter(t, url, "r"), enter(t, url, "r"), dial(t, url, nil)
	a.expect("peer-joined")
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(patience(t)) }()
	for _, c := range []*client{a, b, waiting} {
		c.expect("goaway")
		c.closed(closeDrain)
	}
	if err := <-done; err != nil {
		t.Errorf("got %v", err)
	}
	noGoroutines(t)
	if len(s.rooms)+len(s.conns)+len(s.perIP)+s.sockets != 0 {
		t.Errorf("left over: rooms %v, conns %v, perIP %v, sockets %d", s.rooms, s.conns, s.perIP, s.sockets)
	}
}
