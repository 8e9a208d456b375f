package turnsrv

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/pion/stun/v3"
)

// forward passes ChannelData b of a client on to the peer that the channel is
// bound to (RFC 8656 section 12.6). Without an allocation or a channel it is
// dropped.
func (g *gate) forward(b []byte, client netip.AddrPort) {
	if len(b) < channelDataHeader {
		return
	}
	end := channelDataHeader + int(binary.BigEndian.Uint16(b[2:]))
	s := g.session(client)
	if s == nil || end > len(b) {
		return
	}
	if peer, bound := s.channels.to(binary.BigEndian.Uint16(b)); bound {
		s.relay.send(b[channelDataHeader:end], peer)
	}
}

// forwardIndication passes a Send indication on, if there is a permission for
// its peer (RFC 8656 section 11.3). What is wrong with it is not answered.
func (g *gate) forwardIndication(m *stun.Message, client netip.AddrPort) {
	s := g.session(client)
	if s == nil || len(unknownAttributes(m)) > 0 {
		return
	}
	raw, ok := m.Attributes.Get(stun.AttrXORPeerAddress)
	data, found := m.Attributes.Get(stun.AttrData)
	if !ok || !found {
		return
	}
	if peer, ok := peerAddress(m, raw); ok && s.permissions.has(peer.Addr().Unmap()) {
		s.relay.send(data.Value, unmap(peer))
	}
}

// deliver sends the client of s what the peer from sent to its relay: by the
// channel that is bound to the peer, or as a Data indication if there is a
// permission for it (RFC 8656 sections 11.5 and 12.7). Otherwise it is dropped.
// The payload stands in b behind room for a ChannelData header.
func (s *session) deliver(b []byte, from netip.AddrPort) {
	n := len(b) - channelDataHeader
	channel, bound := s.channels.of(from)
	switch {
	case !bound && !s.permissions.has(from.Addr()):
		return
	case !s.relay.toClient.allow(n):
		s.relay.over.Add(1)
		return
	}
	s.relay.in.add(n)
	if bound {
		binary.BigEndian.PutUint16(b, channel)
		binary.BigEndian.PutUint16(b[2:], uint16(n))
		b = append(b, padding[:-n&3]...) // streams want it, datagrams may have it: RFC 8656 section 12.5
		_, _ = s.gate.WriteToUDPAddrPort(b, s.Client)
		return
	}
	buf := buffers.Get().(*[]byte)
	*buf = appendDataIndication((*buf)[:0], from, b[channelDataHeader:])
	_, _ = s.gate.WriteToUDPAddrPort(*buf, s.Client)
	buffers.Put(buf)
}

// deliverCopy is deliver for a payload without room in front.
func (s *session) deliverCopy(payload []byte, from netip.AddrPort) {
	buf := buffers.Get().(*[]byte)
	*buf = append(append((*buf)[:0], padding[:]...), payload...)
	s.deliver(*buf, from)
	buffers.Put(buf)
}

var (
	padding [channelDataHeader]byte
	buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2*maxFrame); return &b }}
)

// appendDataIndication appends a Data indication, RFC 8656 section 11.6.
func appendDataIndication(b []byte, from netip.AddrPort, payload []byte) []byte {
	m := stun.Message{Raw: b, TransactionID: stun.NewTransactionID()}
	m.SetType(stun.NewType(stun.MethodData, stun.ClassIndication))
	m.WriteHeader()
	_ = stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())}.AddToAs(&m, stun.AttrXORPeerAddress)
	m.Add(stun.AttrData, payload)
	return m.Raw
}
