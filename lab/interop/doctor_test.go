//go:build linux

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"turnkey/lab/netns"
	"turnkey/lab/program"
)

const walledIP = "203.0.113.40" // nothing that it sends over UDP reaches the server

// verdict is what the call doctor says of a room with one pair.
type verdict struct {
	Peers []struct {
		ID, Address string
		Sessions    []struct{ Transport string }
	}
	Pairs []struct {
		Stage    string
		Findings []struct{ Code, Peer, Message, Hint string }
	}
}

// found is the message of the finding with this code about a peer, if there is one.
func (v verdict) found(code, peer string) (message string, ok bool) {
	for _, p := range v.Pairs {
		for _, f := range p.Findings {
			if f.Code == code && (peer == "" || f.Peer == peer) {
				return f.Message, true
			}
		}
	}
	return "", false
}

// ask returns what the doctor says of a room.
func ask(ctx context.Context, h *netns.Host, room, key string) (v verdict, _ error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+serverIP+":8080/v1/rooms/"+room+"/doctor", nil)
	if err != nil {
		return v, err
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := program.Client(h).Do(request)
	if err != nil {
		return v, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return v, fmt.Errorf("status %s", response.Status)
	}
	return v, json.NewDecoder(response.Body).Decode(&v)
}

// troubled is a call that goes wrong in one way, and what is said of it. The
// first of the two comes first; the second offers.
type troubled struct {
	room   string
	ends   [2]caller
	stage  string // "" = any
	codes  [2]string
	words  string // in the message of the last code
	logged bool   // a line tells of it
}

var troubles = []troubled{
	{room: "direct", stage: "connected", codes: [2]string{"connected_direct"}, words: "connected directly, over udp"},
	{room: "relayed", ends: [2]caller{{relay: true}, {relay: true}}, stage: "relayed", codes: [2]string{"relayed", "relayed"}, words: "on this server, and reaches over udp"},
	{room: "expired", ends: [2]caller{{}, {relay: true, credential: "expired"}}, codes: [2]string{1: "turn_refused"}, words: "401, credential expired at "},
	{room: "wrong-secret", ends: [2]caller{{relay: true, credential: "wrong"}, {}}, codes: [2]string{"turn_refused"}, words: "401, wrong password, or a secret that this server does not have"},
	{room: "denied", ends: [2]caller{{relay: true}, {bare: true}}, stage: "checking", codes: [2]string{"peer_denied"}, words: "203.0.113.0/24 (documentation)", logged: true},
	{room: "no-answer", ends: [2]caller{{mute: true}, {}}, stage: "offered", codes: [2]string{"no_answer"}, words: "has not answered the offer"},
	{room: "withheld", stage: "checking", ends: [2]caller{{withholds: true, bare: true}, {relay: true}}, codes: [2]string{"candidates_missing"}, words: "has sent none"},
	{room: "walled", ends: [2]caller{{relay: true, walled: true}, {relay: true}}, stage: "relayed", codes: [2]string{"relayed_tcp", "relayed"}, words: "on this server, and reaches over "},
}

// Each call goes wrong, or well, as it says, and the doctor says so, from what the
// server saw of real clients.
func TestDoctorTellsWhatIsWrong(t *testing.T) {
	n := netns.New(t)
	wan := n.Switch("wan")
	server := n.Host("server")
	server.Join(wan, "eth0", serverIP+"/24")
	server.NFT("table ip walled { chain input { type filter hook input priority 0; ip saddr " + walledIP + " udp dport 3478 drop; }; }")
	hosts := map[string]*netns.Host{}
	for name, ip := range map[string]string{"left": clientIP, "right": peerIP, "walled": walledIP} {
		hosts[name] = n.Host(name)
		hosts[name].Join(wan, "eth0", ip+"/24")
	}
	p := program.Start(t, program.Config{Host: server, Env: []string{
		"TURNKEY_PUBLIC_IP=" + serverIP, "TURNKEY_AUTH=open", "TURNKEY_API_KEY=" + apiKey, "TURNKEY_SECRET=" + secret, "TURNKEY_DRAIN_TIMEOUT=1s"}})
	t.Run("calls", func(t *testing.T) {
		for _, tt := range troubles {
			t.Run(tt.room, func(t *testing.T) {
				t.Parallel()
				tt.ends[0].host, tt.ends[1].host = hosts["left"], hosts["right"]
				if tt.ends[0].walled {
					tt.ends[0].host = hosts["walled"]
				}
				var ids [2]string
				for i := range tt.ends {
					ids[i] = tt.ends[i].enter(t, tt.room)
				}
				tt.await(t, server, ids)
				if tt.logged {
					p.Log.Await(t, "two peers do not connect", 1, 30*time.Second)
				}
				if v, err := ask(t.Context(), server, tt.room, apiKey); err != nil || v.Peers[1].Address != peerIP {
					t.Errorf("with the key: got %+v, %v, want addresses", v, err)
				}
			})
		}
	})
	for _, line := range p.Log.Records("two peers do not connect") {
		if room := line.Text("room"); slices.Contains([]string{"direct", "relayed", "walled"}, room) {
			t.Errorf("a line says that room %s, which connected, does not: %v", room, line)
		}
	}
	if _, err := ask(t.Context(), server, "nobody", ""); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a room that is not there: got %v, want 404", err)
	}
}

// await waits until the doctor says what it should of the two.
func (c troubled) await(t *testing.T, from *netns.Host, ids [2]string) {
	t.Helper()
	var v verdict
	var err error
	for deadline := time.Now().Add(30 * time.Second); !c.said(v, ids); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %+v, %v, want %s %v, of %v, with %q", v, err, c.stage, c.codes, ids, c.words)
		}
		v, err = ask(t.Context(), from, c.room, apiKey) // whoever has no key may not ask as often
	}
	v, err = ask(t.Context(), from, c.room, "")
	if text := fmt.Sprint(v); err != nil || len(v.Pairs) != 1 || strings.Contains(text, clientIP) || strings.Contains(text, peerIP) {
		t.Errorf("somebody without the key sees %s, %v, want no addresses", text, err)
	}
}

func (c troubled) said(v verdict, ids [2]string) bool {
	if len(v.Pairs) != 1 || c.stage != "" && v.Pairs[0].Stage != c.stage {
		return false
	}
	var message string
	for i, code := range c.codes {
		about, ok := ids[i], true
		if strings.HasPrefix(code, "connected") {
			about = "" // it is about both
		}
		if code != "" {
			message, ok = v.found(code, about)
		}
		if !ok {
			return false
		}
	}
	return strings.Contains(message, c.words)
}
