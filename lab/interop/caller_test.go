//go:build linux

package interop

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"

	"turnkey/lab/netns"
	"turnkey/signal"
)

// caller is somebody in a call: pion's peer connection, and a client of the
// signaling. It offers if it comes second. The zero value does all as it should.
type caller struct {
	host       *netns.Host
	relay      bool   // it uses relays only
	bare       bool   // it uses no ICE servers
	walled     bool   // it is on the host whose UDP does not reach the server
	mute       bool   // it does not answer
	withholds  bool   // it does not send its candidates
	credential string // "expired" or "wrong": not the one it was given

	client *signal.Client
	pc     *webrtc.PeerConnection
}

// hostNet is a host's network as pion asks for it: sockets are opened there.
type hostNet struct {
	*stdnet.Net
	host *netns.Host
}

func (n hostNet) ListenPacket(network, address string) (conn net.PacketConn, err error) {
	err = n.host.Do(func() error { conn, err = n.Net.ListenPacket(network, address); return err })
	return conn, err
}

func (n hostNet) ListenUDP(network string, local *net.UDPAddr) (conn transport.UDPConn, err error) {
	err = n.host.Do(func() error { conn, err = n.Net.ListenUDP(network, local); return err })
	return conn, err
}

func (n hostNet) DialTCP(network string, local, remote *net.TCPAddr) (conn transport.TCPConn, err error) {
	err = n.host.Do(func() error { conn, err = n.Net.DialTCP(network, local, remote); return err })
	return conn, err
}

// enter begins the call, and returns the peer's id.
func (c *caller) enter(t *testing.T, room string) string {
	t.Helper()
	var err error
	c.client, err = signal.Enter(t.Context(), "ws://"+serverIP+":8080/v1/ws", room,
		signal.ClientOptions{HTTP: &http.Client{Transport: &http.Transport{DialContext: c.host.Dial}}})
	if err != nil {
		t.Fatal(err)
	}
	welcome := <-c.client.Events()
	c.connect(t, welcome)
	var work sync.WaitGroup
	work.Go(func() {
		for e := range c.client.Events() {
			if err := c.take(e); err != nil {
				t.Errorf("%s in room %s: %v", e.Raw, room, err)
			}
		}
	})
	t.Cleanup(func() {
		_ = c.client.Close()
		_ = c.pc.Close()
		work.Wait()
	})
	for _, p := range welcome.Peers {
		c.watch(p.ID)
		if err := c.offer(p.ID); err != nil {
			t.Fatal(err)
		}
	}
	return welcome.Peer
}

// connect makes the peer connection with what the server gave.
func (c *caller) connect(t *testing.T, welcome signal.Event) {
	t.Helper()
	config := webrtc.Configuration{}
	if err := json.Unmarshal(welcome.ICEServers, &config.ICEServers); err != nil {
		t.Fatal(err)
	}
	switch {
	case c.bare:
		config.ICEServers = nil
	case c.relay:
		config.ICETransportPolicy = webrtc.ICETransportPolicyRelay
	}
	for i := range config.ICEServers {
		s := &config.ICEServers[i]
		switch {
		case s.Username == "":
		case c.credential == "expired":
			old := sign(time.Now().Add(-time.Minute), welcome.Peer)
			s.Username, s.Credential = old.username, old.password
		case c.credential == "wrong":
			s.Credential = strings.Repeat("A", 27) + "="
		}
	}
	n := hostNet{host: c.host}
	if err := c.host.Do(func() (err error) { n.Net, err = stdnet.NewNet(); return err }); err != nil {
		t.Fatal(err)
	}
	var settings webrtc.SettingEngine // by default pion asks a TURN server over UDP only
	settings.SetNet(n)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4})
	settings.SetICETimeouts(2*time.Second, 6*time.Second, time.Second)
	var err error
	if c.pc, err = webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(config); err != nil {
		t.Fatal(err)
	}
}

// take does what an event asks for.
func (c *caller) take(e signal.Event) error {
	switch e.Type {
	case "peer-joined":
		c.watch(e.Peer)
	case "offer":
		if c.mute {
			return nil
		}
		if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: e.SDP}); err != nil {
			return err
		}
		answer, err := c.pc.CreateAnswer(nil)
		if err != nil {
			return err
		}
		return c.describe(signal.Answer, e.Peer, answer)
	case "answer":
		return c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: e.SDP})
	case "candidate":
		var candidate *webrtc.ICECandidateInit
		if err := json.Unmarshal(e.Candidate, &candidate); err != nil || candidate == nil || c.mute {
			return err
		}
		return c.pc.AddICECandidate(*candidate)
	}
	return nil
}

func (c *caller) offer(peer string) error {
	if _, err := c.pc.CreateDataChannel("call", nil); err != nil {
		return err
	}
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	return c.describe(signal.Offer, peer, offer)
}

// describe sends a description before the candidates that follow from it.
func (c *caller) describe(kind signal.Type, peer string, d webrtc.SessionDescription) error {
	if _, err := c.client.Send(kind, peer, map[string]any{"sdp": d.SDP}); err != nil {
		return err
	}
	return c.pc.SetLocalDescription(d)
}

// watch sends the peer the candidates, and tells the server how the connection
// stands.
func (c *caller) watch(peer string) {
	c.pc.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		var line any // null: the end
		if candidate != nil {
			line = candidate.ToJSON()
		}
		if !c.withholds {
			_, _ = c.client.Send(signal.Candidate, peer, map[string]any{"candidate": line}) // fails when the call is over
		}
	})
	c.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		report := map[string]any{"state": state.String()}
		pair, err := c.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
		if state == webrtc.PeerConnectionStateConnected && err == nil && pair != nil {
			report["selected"] = map[string]string{"local": pair.Local.Typ.String(), "remote": pair.Remote.Typ.String(), "protocol": pair.Local.Protocol.String()}
		}
		_, _ = c.client.Send(signal.State, peer, report)
	})
}
