//go:build linux

package browser

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/turn/v4"
	"turnkey/lab/netns"
	"turnkey/lab/program"
)

// counted is a socket that counts the ICE checks that come to it.
type counted struct {
	net.PacketConn
	mu            sync.Mutex
	checks, bytes int
}

// ReadFrom keeps them to itself: pion's client stops at what it does not know.
func (c *counted) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil || n < 2 || b[0] != 0 || b[1] != 1 { // Binding request
			return n, from, err
		}
		c.mu.Lock()
		c.checks, c.bytes = c.checks+1, c.bytes+n
		c.mu.Unlock()
	}
}

func (c *counted) seen() (checks, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.checks, c.bytes
}

// listen opens a socket on h; read says whether its packets are read away.
func listen(t *testing.T, h *netns.Host, read bool) *counted {
	t.Helper()
	c := &counted{}
	if err := h.Do(func() (err error) {
		c.PacketConn, err = net.ListenPacket("udp4", "0.0.0.0:0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if read {
		go func() {
			for b := make([]byte, 1500); ; {
				if _, _, err := c.ReadFrom(b); err != nil {
					return
				}
			}
		}()
	}
	return c
}

// The server sends checks to an address that has proved itself in an Allocate,
// few and short ones; who names another, or none, gets nothing sent anywhere.
func TestNATTestSendsToNobodyElse(t *testing.T) {
	w := newNATWorld(t)
	h, other := w.client(t, ""), w.client(t, "")
	post := func(path string, in, out any) int {
		t.Helper()
		body, _ := json.Marshal(in)
		answer, err := program.Client(h).Post("http://"+server+":8080"+path, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode == http.StatusOK && out != nil {
			if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
				t.Fatal(err)
			}
		}
		return answer.StatusCode
	}
	var test struct {
		ID        string
		Filtering map[string]struct{ Username, Credential string }
	}
	if code := post("/v1/nat", nil, &test); code != 200 {
		t.Fatalf("begin: got %d", code)
	}
	way, page := "/v1/nat/"+test.ID+"/v4/", map[string]string{"ufrag": "abcd", "pwd": "abcdefghijklmnopqrstuv", "address": "203.0.113.102:9"}
	if code := post(way+"checks", page, nil); code != 409 {
		t.Errorf("without an Allocate: got %d, want 409", code)
	}

	own, neighbour, victim := listen(t, h, false), listen(t, h, true), listen(t, other, true)
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: server + ":3478", TURNServerAddr: server + ":3478", Conn: own,
		Username: test.Filtering["v4"].Username, Password: test.Filtering["v4"].Credential,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Allocate(); err != nil {
		t.Fatal(err)
	}
	var given struct {
		Ufrag, Pwd string
		Candidates []netip.AddrPort
	}
	if code := post(way+"checks", page, &given); code != 200 || len(given.Candidates) != 1 {
		t.Fatalf("after an Allocate: got %d, %v", code, given)
	}
	check := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(given.Ufrag+":abcd"), stun.NewShortTermIntegrity(given.Pwd), stun.Fingerprint)
	to := net.UDPAddrFromAddrPort(given.Candidates[0])
	for _, from := range []*counted{victim, own, neighbour} {
		if _, err := from.WriteTo(check.Raw, to); err != nil {
			t.Fatal(err)
		}
		for begun := time.Now(); from == own; runtime.Gosched() { // the control is where the first right one comes from
			if checks, _ := own.seen(); checks > 0 {
				break
			}
			if time.Since(begun) > 5*time.Second {
				t.Fatal("no check came")
			}
		}
	}
	var rounds struct{ Rounds struct{ Sent int } }
	if code := post(way+"rounds", nil, &rounds); code != 200 || rounds.Rounds.Sent != 5 {
		t.Errorf("rounds: got %d, %+v, want 5 for a client that answers nothing", code, rounds)
	}
	if code := post(way+"checks", page, nil); code != 409 {
		t.Errorf("a second time: got %d, want 409", code)
	}
	post(way+"disturb", nil, nil)
	if checks, bytes := own.seen(); checks != 15 || bytes > 15*120 {
		t.Errorf("got %d checks of %d bytes in all, want 15 of at most 120 each", checks, bytes)
	}
	for name, c := range map[string]*counted{"another host": victim, "another port of the client": neighbour} {
		if checks, _ := c.seen(); checks != 0 {
			t.Errorf("%s got %d checks, want none", name, checks)
		}
	}
}
