package turnsrv

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/pion/stun/v3"
)

// inside says which relay ports of one address family are in use, and by whom.
// Between two of them packets do not leave the process: that works behind a 1:1
// NAT that does not send packets back, and with the relay ports closed in the
// firewall.
type inside struct {
	first uint16
	at    []atomic.Pointer[session] // by port
}

func newInside(r PortRange) *inside {
	if r.Max < r.Min {
		return &inside{}
	}
	return &inside{first: r.Min, at: make([]atomic.Pointer[session], int(r.Max-r.Min)+1)}
}

func (i *inside) slot(port uint16) *atomic.Pointer[session] {
	if port < i.first || int(port-i.first) >= len(i.at) {
		return nil
	}
	return &i.at[port-i.first]
}

// enter makes s the owner of its port, leave ends that.
func (i *inside) enter(s *session) {
	if slot := i.slot(s.Relay.Port()); slot != nil {
		slot.Store(s)
	}
}

func (i *inside) leave(s *session) {
	if slot := i.slot(s.Relay.Port()); slot != nil {
		slot.CompareAndSwap(s, nil)
	}
}

// find returns the session that has the relayed transport address to, or nil.
func (i *inside) find(to netip.AddrPort) *session {
	slot := i.slot(to.Port())
	if slot == nil {
		return nil
	}
	if s := slot.Load(); s != nil && s.Relay == to {
		return s
	}
	return nil
}

// deliver sends the client of s what the peer from sent to its relay: by the
// channel that is bound to the peer, or as a Data indication if there is a
// permission for it (RFC 8656 sections 11.5 and 12.6). Otherwise it is dropped.
func (s *session) deliver(p []byte, from netip.AddrPort) {
	channel, bound := s.channels.of(from)
	if !bound && !s.permissions.has(from.Addr()) || !s.relay.toClient.allow(len(p)) {
		return
	}
	s.relay.in.add(len(p))
	b := deliveries.Get().(*[]byte)
	defer deliveries.Put(b)
	if bound {
		*b = appendChannelData((*b)[:0], channel, p)
	} else {
		*b = appendDataIndication((*b)[:0], from, p)
	}
	_, _ = s.gate.PacketConn.WriteTo(*b, s.client)
}

var deliveries = sync.Pool{New: func() any { b := make([]byte, 0, maxFrame); return &b }}

// appendChannelData appends ChannelData, padded as streams want it and datagrams
// may have it (RFC 8656 section 12.5).
func appendChannelData(b []byte, channel uint16, p []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, channel)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
	return append(append(b, p...), make([]byte, -len(p)&3)...)
}

// appendDataIndication appends a Data indication, RFC 8656 section 11.6.
func appendDataIndication(b []byte, from netip.AddrPort, p []byte) []byte {
	m := stun.Message{Raw: b, TransactionID: stun.NewTransactionID()}
	m.SetType(stun.NewType(stun.MethodData, stun.ClassIndication))
	m.WriteHeader()
	_ = stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())}.AddToAs(&m, stun.AttrXORPeerAddress)
	m.Add(stun.AttrData, p)
	return m.Raw
}
