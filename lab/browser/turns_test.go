//go:build linux

package browser

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"turnkey/lab/netns"
	"turnkey/lab/program"
)

// serverName is what the server's certificate is for.
const serverName = "turn.example.test"

// resolver answers DNS questions on h: serverName has the server's address,
// and nothing else is there. It returns a resolv.conf that asks it. Browsers
// make turns: connections to names only, and ask no file for them.
func resolver(t *testing.T, h *netns.Host) string {
	t.Helper()
	h.Answer("127.0.0.1:53", func(query []byte, _ net.Addr) []byte { return answer(query) })
	file := filepath.Join(tempDir(t), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// answer is what the resolver says to a query, nil if that is none.
func answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	switch {
	case q.Name.String() != serverName+".":
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(server).As4()},
		}}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

func TestDataChannelOverTLSRelay(t *testing.T) {
	p, host := start(t, append(program.Certificate(t, serverName), "TURNKEY_HOST="+serverName, "TURNKEY_DRAIN_TIMEOUT=1s")...)
	conf := resolver(t, host)
	for _, pair := range [][]string{{"chromium", "chromium"}, {"firefox", "firefox"}, {"chromium", "firefox"}} {
		name := strings.Join(pair, "-")
		in := relayInput{URL: url, Browsers: pair, Messages: 100, Size: 1000, Resolver: conf}
		for _, port := range []string{"443", "5349"} {
			in.Ways = append(in.Ways, relayWay{Transport: "tls", Label: name + "-" + port, Only: "turns:" + serverName + ":" + port + "?transport=tcp"})
		}
		t.Run(name, func(t *testing.T) { passMessages(t, host, in) })
	}
	p.Stop(t)
	ended := p.Log.Records("session ended")
	if want := 2 * 6; len(ended) < want {
		t.Errorf("got %d sessions, want %d at least", len(ended), want)
	}
	for _, session := range ended {
		if got := session.Text("transport"); got != "tls" {
			t.Errorf("session %s: got transport %q, want tls", session.Text("label"), got)
		}
	}
}
