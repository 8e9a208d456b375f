//go:build linux

package interop

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"turnkey/lab/program"
)

// TestPionWebRTC: two of pion's peer connections that may use relays only reach
// each other with just what GET /v1/ice hands out, over UDP and over TCP.
func TestPionWebRTC(t *testing.T) {
	const api = "127.0.0.1:27480"
	p := program.Start(t, program.Config{HTTP: api, Env: []string{
		"TURNKEY_LISTEN=127.0.0.1", "TURNKEY_PORT=27478", "TURNKEY_ALT_PORT=27479", "TURNKEY_HTTP=" + api, "TURNKEY_RELAY_PORTS=27500-27599",
	}})
	response, err := p.Client().Get("http://" + api + "/v1/ice?label=pion")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var ice struct{ ICEServers []webrtc.ICEServer }
	if err := json.NewDecoder(response.Body).Decode(&ice); err != nil || response.StatusCode != http.StatusOK || len(ice.ICEServers) != 2 {
		t.Fatalf("GET /v1/ice: got %s, %d servers, %v", response.Status, len(ice.ICEServers), err)
	}
	turn := ice.ICEServers[1]
	for i, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			only := turn
			only.URLs = turn.URLs[i : i+1]
			talk(t, only)
		})
	}
}

// talk opens a data channel between two peer connections, through relays of
// server, and sends a message there and back.
func talk(t *testing.T, server webrtc.ICEServer) {
	config := webrtc.Configuration{ICEServers: []webrtc.ICEServer{server}, ICETransportPolicy: webrtc.ICETransportPolicyRelay}
	var settings webrtc.SettingEngine // by default pion asks a TURN server over UDP only
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4})
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings))
	var ends [2]*webrtc.PeerConnection
	for i := range ends {
		pc, err := api.NewPeerConnection(config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pc.Close() })
		ends[i] = pc
	}
	offerer, answerer := ends[0], ends[1]
	answerer.OnDataChannel(func(d *webrtc.DataChannel) {
		d.OnMessage(func(m webrtc.DataChannelMessage) { _ = d.SendText(string(m.Data) + ", back") })
	})
	channel, err := offerer.CreateDataChannel("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan string, 1)
	channel.OnOpen(func() { _ = channel.SendText("there") })
	channel.OnMessage(func(m webrtc.DataChannelMessage) { received <- string(m.Data) })

	offer, err := offerer.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	describe(t, offerer, answerer, offer)
	answer, err := answerer.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	describe(t, answerer, offerer, answer)
	select {
	case got := <-received:
		if got != "there, back" {
			t.Errorf("got %q, want \"there, back\"", got)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("no message came; the offerer's ICE is %v", offerer.ICEConnectionState())
	}
	pair, err := offerer.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil || pair.Local.Typ != webrtc.ICECandidateTypeRelay {
		t.Errorf("got the pair %v %v, want a relay of its own", pair, err)
	}
}

// describe sets a description, complete with its candidates, at both ends.
func describe(t *testing.T, local, remote *webrtc.PeerConnection, d webrtc.SessionDescription) {
	t.Helper()
	gathered := webrtc.GatheringCompletePromise(local)
	if err := local.SetLocalDescription(d); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gathered:
	case <-time.After(10 * time.Second):
		t.Fatal("gathering candidates takes more than 10 s")
	}
	if err := remote.SetRemoteDescription(*local.LocalDescription()); err != nil {
		t.Fatal(err)
	}
}
