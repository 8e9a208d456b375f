package turnsrv

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pion/stun/v3"
)

// lines is a log that may be written to and read at once.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *lines) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// A username is never more than text: not a format, not a line of the log, not
// longer than what is read of it.
func TestUsernamesAreOnlyText(t *testing.T) {
	var log lines
	m := inMemory(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	w := m.signer()
	for i, username := range []string{
		"1999999999:%s%s%s%n%p", "1999999999:a\nlevel=ERROR msg=forged", "1999999999:\x00\x1b[31m\r", "1999999999:\xff\xfe", `1999999999:"}{"a":"b`,
		"1999999999:" + strings.Repeat("x", 500), "", ":", "%!s(MISSING)", "' OR 1=1 --", "1999999999:\u202egnp.exe",
	} {
		w.username, w.password = username, "wrong"
		if got := code(m.call(w, m.newcomer(), stun.MethodAllocate, udpTransport)); got != 401 {
			t.Errorf("%.40q: got %d, want 401", username, got)
		}
		text := log.String()
		if n := strings.Count(text, "\n"); n > i+1 {
			t.Errorf("%.40q: got %d lines after %d refusals: %s", username, n, i+1, text)
		}
	}
	for line := range strings.Lines(log.String()) {
		if !strings.HasPrefix(line, "time=") || !utf8.ValidString(line) || strings.ContainsAny(line, "\x00\x1b\r\u202e") || len(line) > 1000 {
			t.Errorf("a line of the log: %.1200q", line)
		}
	}
}

// What fills attributes up to a multiple of 4 is 0, in every kind of answer and
// in what is relayed, whatever was in the buffers before.
func TestPaddingLeaksNothing(t *testing.T) {
	f := start(t, allowLoopback)
	peer := echo(t)
	at := peerAttr(peer.LocalAddr().String())
	var messages [][]byte
	for _, network := range []string{"udp", "tcp"} {
		for _, tt := range rows(f) {
			w := f.wire(t, network)
			messages = append(messages, tt.ask(w).Raw)
			if network == "tcp" { // of UDP sockets another one could get the port while the allocation lives
				w.Close()
			}
		}
		w := f.wire(t, network).challenge()
		w.allocate()
		for _, method := range []stun.Method{stun.MethodCreatePermission, stun.MethodChannelBind} {
			if got := code(w.call(method, channel(0x4000), at)); got != 0 {
				t.Fatalf("got %d", got)
			}
			for _, n := range []int{1400, 1, 1401, 2, 1402, 3, 1403, 5} { // long ones leave their bytes in the buffers
				send := w.build(stun.NewType(stun.MethodSend, stun.ClassIndication), at, value(stun.AttrData, bytes.Repeat([]byte{0xAA}, n)...))
				w.send(send.Raw)
				b, err := w.frame(5 * time.Second)
				if err != nil {
					t.Fatal(err)
				}
				messages = append(messages, b)
			}
		}
	}
	padded := 0
	for _, b := range messages {
		padded += nonZero(t, b)
	}
	if padded < 100 {
		t.Errorf("got %d bytes of padding in %d messages, want more to look at", padded, len(messages))
	}
}

// nonZero checks the padding of a message and returns how many bytes it has.
func nonZero(t *testing.T, b []byte) (padded int) {
	t.Helper()
	check := func(at, size int) {
		for _, c := range b[min(at+size, len(b)):min(at+(size+3)&^3, len(b))] {
			if padded++; c != 0 {
				t.Errorf("%x: got padding %#x, want 0", b, c)
			}
		}
	}
	if isChannelData(b) {
		check(4, int(b[2])<<8|int(b[3]))
		return padded
	}
	for at := stunHeader; at+4 <= len(b); {
		size := int(b[at+2])<<8 | int(b[at+3])
		check(at+4, size)
		at += 4 + (size+3)&^3
	}
	return padded
}

// Errors that only show when pion tries are signed like all others.
func TestLateErrorsAreSigned(t *testing.T) {
	m := inMemory(t, func(c *Config) {
		c.IPv4.Listen = func(uint16) (net.PacketConn, error) { return nil, net.ErrClosed }
	})
	w := m.signer()
	answer := m.call(w, m.newcomer(), stun.MethodAllocate, udpTransport)
	if err := w.key().Check(answer); code(answer) != 508 || err != nil {
		t.Errorf("got %d, integrity: %v, want 508 with integrity", code(answer), err)
	}
}

// Nonces and relay ports cannot be guessed from those that were seen.
func TestNoncesAndPortsCannotBeGuessed(t *testing.T) {
	seen := make(map[string]bool)
	for range 20 { // each server makes its own
		m := inMemory(t, nil)
		nonce := m.signer().nonce
		if seen[nonce] || len(nonce) < 16 {
			t.Errorf("got nonce %q, want a new one of 16 bytes at least", nonce)
		}
		seen[nonce] = true
		for i := range len(nonce) { // one that is nearly right
			w := m.signer()
			b := []byte(nonce)
			b[i] ^= 1
			w.nonce = string(b)
			if got := code(m.call(w, m.newcomer(), stun.MethodAllocate, udpTransport)); got != 438 {
				t.Fatalf("nonce with byte %d changed: got %d, want 438", i, got)
			}
		}
	}
	m := inMemory(t, func(c *Config) { c.RelayPorts = PortRange{20000, 60000} })
	w := m.signer()
	const n = 2000
	ports, steps := make(map[uint16]bool), make(map[int]int)
	var last uint16
	low := 0
	for range n {
		port := relayed(t, m.call(w, m.newcomer(), stun.MethodAllocate, udpTransport)).Port()
		ports[port] = true
		steps[int(port)-int(last)]++
		last = port
		if port < 40000 {
			low++
		}
	}
	often := 0
	for _, times := range steps {
		often = max(often, times)
	}
	// By chance a step comes up five times in 2000 once in ten million runs, and
	// the half below is off by 200 as seldom.
	if len(ports) != n || often > 5 || low < n/2-200 || low > n/2+200 {
		t.Errorf("got %d different ports of %d, the same step up to %d times, %d ports in the lower half", len(ports), n, often, low)
	}
}

// A nonce that expires, one of another server, one that was made up.
func TestForeignNonces(t *testing.T) {
	m, other := inMemory(t, nil), inMemory(t, nil)
	w, stranger := m.signer(), other.signer()
	random := make([]byte, 24)
	_, _ = rand.Read(random)
	for name, nonce := range map[string]string{
		"another server's": stranger.nonce, "random": string(random), "empty": "", "long": strings.Repeat("n", 763), "cut": w.nonce[:len(w.nonce)-1], "longer": w.nonce + "0",
	} {
		w.nonce = nonce
		for _, method := range methods {
			answer := m.call(w, m.newcomer(), method, udpTransport, public)
			if code(answer) != 438 || value1(t, answer, stun.AttrNonce) == nonce {
				t.Errorf("%v with nonce %s: got %d, want 438 with another nonce", method, name, code(answer))
			}
		}
	}
	if n := len(m.Sessions()); n != 0 {
		t.Errorf("got %d sessions, want none", n)
	}
}

// Another user cannot touch an allocation, nor the same packet another time from
// elsewhere: the five-tuple is part of what is asked.
func TestAllocationsBelongToTheirOwner(t *testing.T) {
	m := inMemory(t, nil)
	owner, thief := m.signer(), m.signer()
	thief.username, thief.password, _ = m.secrets.Issue("thief", time.Now().Add(time.Hour))
	client := m.newcomer()
	if got := code(m.call(owner, client, stun.MethodAllocate, udpTransport)); got != 0 {
		t.Fatalf("got %d", got)
	}
	for _, method := range methods {
		want := stun.CodeWrongCredentials
		if method == stun.MethodAllocate {
			want = stun.CodeAllocMismatch
		}
		if got := code(m.call(thief, client, method, udpTransport, lifetime(0), channel(0x4000), public)); got != want {
			t.Errorf("%v from the owner's address: got %d, want %d", method, got, want)
		}
	}
	for _, elsewhere := range []netip.AddrPort{m.newcomer(), netip.AddrPortFrom(client.Addr(), client.Port()+1)} {
		if got := code(m.call(owner, elsewhere, stun.MethodRefresh, lifetime(0))); got != 437 {
			t.Errorf("the owner from elsewhere: got %d, want 437", got)
		}
	}
	if s := m.Sessions(); len(s) != 1 || len(s[0].Peers) != 0 || s[0].Username != owner.username {
		t.Errorf("got %v, want the allocation as it was", fmt.Sprint(s))
	}
}
