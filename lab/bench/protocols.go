//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// signaler is a protocol of signaling, as the load speaks it.
type signaler interface {
	path(i int) string                // of the WebSocket of peer i
	join(w *socket, i int) error      // waits until the peer is in
	meet(a, b *socket) error          // what two peers do before their candidates
	candidate(to, line string) []byte // the message with a candidate for another peer
}

const description = `v=0\r\no=- %d 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n` +
	`c=IN IP4 0.0.0.0\r\na=ice-ufrag:x7Gh\r\na=ice-pwd:012345678901234567890123\r\na=fingerprint:sha-256 ` +
	`00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\na=setup:%s\r\na=mid:0\r\na=sctp-port:5000\r\n`

// exchange has a offer to b, and b answer, with messages that write makes.
func exchange(a, b *socket, write func(kind, to, sdp string) string) error {
	for _, of := range []struct {
		kind, setup string
		from, to    *socket
	}{{"offer", "actpass", a, b}, {"answer", "active", b, a}} {
		sdp := fmt.Sprintf(description, time.Now().UnixNano(), of.setup)
		if err := of.from.send([]byte(write(of.kind, of.to.id, sdp))); err != nil {
			return err
		}
		if _, err := of.to.expect("a=setup:" + of.setup); err != nil {
			return err
		}
	}
	return nil
}

// native is turnkey's own protocol: docs/protocol.md.
type native struct{}

func (native) path(int) string { return "/v1/ws" }

func (native) join(w *socket, i int) error {
	if err := w.send(fmt.Appendf(nil, `{"type":"join","id":1,"room":"room-%d"}`, i/2)); err != nil {
		return err
	}
	b, err := w.expect(`"welcome"`)
	if err != nil {
		return err
	}
	var welcome struct{ Peer string }
	err = json.Unmarshal(b, &welcome)
	w.id = welcome.Peer
	return err
}

func (native) meet(a, b *socket) error {
	return exchange(a, b, func(kind, to, sdp string) string {
		return fmt.Sprintf(`{"type":%q,"peer":%q,"sdp":"%s"}`, kind, to, sdp)
	})
}

func (native) candidate(to, line string) []byte {
	return fmt.Appendf(nil, `{"type":"candidate","peer":%q,"candidate":{"candidate":%q,"sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"x7Gh"}}`, to, line)
}

// peerJS is the protocol of PeerJS 1.5.
type peerJS struct{}

func (peerJS) path(i int) string {
	return fmt.Sprintf("/peerjs?key=peerjs&id=peer-%d&token=t%d&version=1.5.5", i, i)
}

func (peerJS) join(w *socket, i int) error {
	w.id = fmt.Sprint("peer-", i)
	_, err := w.expect(`"OPEN"`)
	return err
}

func (peerJS) meet(a, b *socket) error {
	return exchange(a, b, func(kind, to, sdp string) string {
		return fmt.Sprintf(`{"type":%q,"dst":%q,"payload":{"sdp":{"type":%q,"sdp":"%s"},"type":"data","connectionId":"dc_8f3k2m9x1q"}}`,
			strings.ToUpper(kind), to, kind, sdp)
	})
}

func (peerJS) candidate(to, line string) []byte {
	return fmt.Appendf(nil, `{"type":"CANDIDATE","payload":{"candidate":{"candidate":%q,"sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"x7Gh"},"type":"data","connectionId":"dc_8f3k2m9x1q"},"dst":%q}`, line, to)
}
