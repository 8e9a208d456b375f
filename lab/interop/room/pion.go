// Command room joins a room of a turnkey server with pion's WebRTC stack, and
// talks over a data channel.
//
//	usage: room wss://HOST/v1/ws ROOM NAME
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/pion/webrtc/v4"

	"turnkey/signal"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[3], err)
		os.Exit(1)
	}
}

type chat struct {
	room     *signal.Client
	pc       *webrtc.PeerConnection
	name     string
	peer     string
	we, they chan struct{} // closed when all was said
}

func run(ctx context.Context, url, room, name string) error {
	client, err := signal.Enter(ctx, url, room, signal.ClientOptions{Name: name, NoRollback: true})
	if err != nil {
		return err
	}
	defer client.Close()
	c := &chat{room: client, name: name, we: make(chan struct{}), they: make(chan struct{})}
	we := c.we
	for they := c.they; we != nil || they != nil; {
		select {
		case e, ok := <-client.Events():
			if !ok {
				return client.Err()
			}
			if err := c.handle(e); err != nil {
				return fmt.Errorf("%s: %w", e.Type, err)
			}
		case <-we:
			if _, err := client.Send(signal.Note, c.peer, map[string]any{"data": "done"}); err != nil {
				return err
			}
			we = nil
		case <-they:
			they = nil
		case <-ctx.Done():
			return fmt.Errorf("not done within 20 s: %w", ctx.Err())
		}
	}
	return c.pc.Close()
}

func (c *chat) handle(e signal.Event) error {
	switch e.Type {
	case "welcome":
		fmt.Println("joined")
		return c.enter(e)
	case "offer":
		c.peer = e.Peer
		if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: e.SDP}); err != nil {
			return err
		}
		return c.describe(signal.Answer, func() (webrtc.SessionDescription, error) { return c.pc.CreateAnswer(nil) })
	case "answer":
		return c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: e.SDP})
	case "candidate":
		var init *webrtc.ICECandidateInit
		if err := json.Unmarshal(e.Candidate, &init); err != nil || init == nil {
			return err
		}
		return c.pc.AddICECandidate(*init)
	case "message":
		close(c.they)
	case "error", "warning":
		return fmt.Errorf("%s: %s; %s", e.Code, e.Message, e.Hint)
	}
	return nil
}

// enter offers to who is there, if the server says so.
func (c *chat) enter(welcome signal.Event) (err error) {
	var config webrtc.Configuration
	if err := json.Unmarshal(welcome.ICEServers, &config.ICEServers); err != nil {
		return err
	}
	if c.pc, err = webrtc.NewPeerConnection(config); err != nil {
		return err
	}
	c.pc.OnDataChannel(c.talk)
	c.pc.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		var init any // null ends them
		if candidate != nil {
			init = candidate.ToJSON()
		}
		_, _ = c.room.Send(signal.Candidate, c.peer, map[string]any{"candidate": init})
	})
	if len(welcome.Peers) == 0 || !welcome.Peers[0].Initiator {
		return nil
	}
	c.peer = welcome.Peers[0].ID
	channel, err := c.pc.CreateDataChannel("chat", nil)
	if err != nil {
		return err
	}
	c.talk(channel)
	return c.describe(signal.Offer, func() (webrtc.SessionDescription, error) { return c.pc.CreateOffer(nil) })
}

func (c *chat) describe(kind signal.Type, create func() (webrtc.SessionDescription, error)) error {
	d, err := create()
	if err != nil {
		return err
	}
	if err := c.pc.SetLocalDescription(d); err != nil {
		return err
	}
	_, err = c.room.Send(kind, c.peer, map[string]any{"sdp": d.SDP})
	return err
}

func (c *chat) talk(channel *webrtc.DataChannel) {
	hello, heard := "hello from "+c.name, map[string]bool{}
	channel.OnOpen(func() { _ = channel.SendText(hello) })
	channel.OnMessage(func(m webrtc.DataChannelMessage) {
		text := string(m.Data)
		heard[text] = true
		if text != hello {
			_ = channel.SendText(text)
		}
		if len(heard) == 2 { // it is echoed, and what was sent has come back
			close(c.we)
		}
	})
}
