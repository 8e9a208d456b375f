package turnsrv

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// Attributes that package stun does not name.
const (
	attrAdditionalAddressFamily stun.AttrType = 0x8000
	attrAddressErrorCode        stun.AttrType = 0x8001
	attrIntegritySHA256         stun.AttrType = 0x001C
)

// expiryMargin is how long before the end of an allocation it counts as gone
// for new permissions and channels: pion must not install one while its timer
// deletes the allocation.
const expiryMargin = time.Second

// Address families, RFC 8656 section 18.6.
const (
	familyIPv4 = 0x01
	familyIPv6 = 0x02
)

const (
	protocolUDP  = 17
	firstChannel = 0x4000
	// lastChannel is that of RFC 5766, whose clients are many. RFC 8656 section
	// 12 ends at 0x4FFF so that TURN can share a five-tuple with DTLS and RTP,
	// which it never does with a server's socket.
	lastChannel = 0x7FFF
)

// refusal is what a request is answered with instead of being handed to pion.
// The zero refusal lets it pass.
type refusal struct {
	code      stun.ErrorCode
	unknown   stun.UnknownAttributes // with 420
	alternate netip.AddrPort         // with 300
	why       string                 // for the log
	rule      string                 // the one that denies a peer, with 403
	denied    netip.Addr             // that peer
}

// judge checks a request that is authenticated, with a nonce that is good,
// against the allocation s of its five-tuple (nil = none), as RFC 8489 section
// 6.3.1 and RFC 8656 sections 7.2, 8.2, 10.2 and 12.2 ask. What it finds that
// pion must know besides the message goes into r.
func (g *gate) judge(m *stun.Message, r *request, s *session) refusal {
	if unknown := unknownAttributes(m); len(unknown) > 0 {
		return refusal{code: stun.CodeUnknownAttribute, unknown: unknown}
	}
	switch r.typ.Method {
	case stun.MethodAllocate:
		return g.judgeAllocate(m, r, s)
	case stun.MethodRefresh:
		return judgeRefresh(m, r, s)
	case stun.MethodCreatePermission:
		return g.judgeCreatePermission(m, r, s)
	default:
		return g.judgeChannelBind(m, r, s)
	}
}

func (g *gate) judgeAllocate(m *stun.Message, r *request, s *session) refusal {
	if s != nil {
		if s.request == r.id && s.Username == r.username {
			return refusal{} // a retransmission: pion repeats its answer
		}
		return refusal{code: stun.CodeAllocMismatch, why: "the five-tuple has an allocation"}
	}
	transport, ok := attr(m, stun.AttrRequestedTransport, 4)
	switch {
	case !ok || transport == nil:
		return bad("REQUESTED-TRANSPORT")
	case transport[0] != protocolUDP:
		return refusal{code: stun.CodeUnsupportedTransProto, why: "only UDP is relayed"}
	}
	if _, ok := attr(m, stun.AttrLifetime, 4); !ok {
		return bad("LIFETIME")
	}
	if refused := r.readFamilies(m); refused.code != 0 {
		return refused
	}
	if refused := g.readPorts(m, r); refused.code != 0 {
		return refused
	}
	if g.server.relays(r.family) == nil {
		return refusal{code: stun.CodeAddrFamilyNotSupported, why: "no relays of that address family"}
	}
	if a := g.server.alternate; g.server.draining.Load() && a.IsValid() && family(a.Addr()) == family(r.from.Addr()) {
		return refusal{code: stun.CodeTryAlternate, alternate: a, why: "the server is shutting down"}
	}
	if g.server.draining.Load() {
		return refusal{code: codeCapacity, why: "the server is shutting down"}
	}
	refused := g.server.quotas.claim(r.taker())
	r.claimed = refused.code == 0
	return refused
}

// readFamilies reads which address families are asked for.
func (r *request) readFamilies(m *stun.Message) refusal {
	family, ok := attr(m, stun.AttrRequestedAddressFamily, 4)
	additional, ok2 := attr(m, attrAdditionalAddressFamily, 4)
	switch {
	case !ok || !ok2 || family != nil && additional != nil:
		return bad("REQUESTED-ADDRESS-FAMILY")
	case additional != nil && additional[0] != familyIPv6:
		return bad("ADDITIONAL-ADDRESS-FAMILY")
	}
	r.family = familyIPv4
	if family != nil {
		r.family = family[0]
	}
	r.additional = additional != nil
	return refusal{}
}

// readPorts reads EVEN-PORT and RESERVATION-TOKEN, which exclude each other and
// most of what says which family is wanted.
func (g *gate) readPorts(m *stun.Message, r *request) refusal {
	even, ok := attr(m, stun.AttrEvenPort, 1)
	if !ok {
		return bad("EVEN-PORT")
	}
	token, ok := attr(m, stun.AttrReservationToken, 8)
	if !ok {
		return bad("RESERVATION-TOKEN")
	}
	r.even, r.reserve = even != nil, even != nil && even[0]&0x80 != 0
	if r.reserve && r.additional || token != nil && (r.even || r.additional || m.Contains(stun.AttrRequestedAddressFamily)) {
		return bad("EVEN-PORT, RESERVATION-TOKEN or an address family beside the other")
	}
	if token != nil {
		r.token = [8]byte(token)
		reserved := g.server.reservations.find(r.token)
		if reserved == nil {
			return refusal{code: stun.CodeInsufficientCapacity, why: "no such RESERVATION-TOKEN"}
		}
		r.family = reserved.family
	}
	return refusal{}
}

func judgeRefresh(m *stun.Message, r *request, s *session) refusal {
	if refused := owned(r, s); refused.code != 0 {
		return refused
	}
	family, ok := attr(m, stun.AttrRequestedAddressFamily, 4)
	lifetime, ok2 := attr(m, stun.AttrLifetime, 4)
	switch {
	case !ok:
		return bad("REQUESTED-ADDRESS-FAMILY")
	case !ok2:
		return bad("LIFETIME")
	case family != nil && family[0] != s.family:
		return refusal{code: stun.CodePeerAddrFamilyMismatch, why: "the allocation is of another address family"}
	}
	r.deletes = lifetime != nil && binary.BigEndian.Uint32(lifetime) == 0
	return refusal{}
}

func (g *gate) judgeCreatePermission(m *stun.Message, r *request, s *session) refusal {
	if refused := adds(r, s); refused.code != 0 {
		return refused
	}
	var peers []netip.Addr
	for _, a := range m.Attributes {
		if a.Type != stun.AttrXORPeerAddress {
			continue
		}
		if refused := g.judgePeer(m, a, s, g.server.peers.Permission); refused.code != 0 {
			return refused
		}
		peer, _ := peerAddress(m, a)
		peers = append(peers, peer.Addr())
	}
	if len(peers) == 0 {
		return bad("no XOR-PEER-ADDRESS")
	}
	return g.judgeRoom(s, peers...)
}

// judgeRoom checks that the allocation has room for permissions for peers.
func (g *gate) judgeRoom(s *session, peers ...netip.Addr) refusal {
	if limit := g.server.quotas.limits.Permissions; limit > 0 && s.permissions.with(peers) > limit {
		return refusal{code: codeCapacity, why: "the allocation has as many permissions as TURNKEY_MAX_PERMISSIONS lets it"}
	}
	return refusal{}
}

func (g *gate) judgeChannelBind(m *stun.Message, r *request, s *session) refusal {
	if refused := adds(r, s); refused.code != 0 {
		return refused
	}
	number, ok := attr(m, stun.AttrChannelNumber, 4)
	if !ok || number == nil {
		return bad("CHANNEL-NUMBER")
	}
	channel := binary.BigEndian.Uint16(number)
	if channel < firstChannel || channel > lastChannel {
		return bad("CHANNEL-NUMBER out of 0x4000-0x7FFF")
	}
	raw, ok := m.Attributes.Get(stun.AttrXORPeerAddress)
	if !ok {
		return bad("no XOR-PEER-ADDRESS")
	}
	if refused := g.judgePeer(m, raw, s, g.server.peers.Send); refused.code != 0 {
		return refused
	}
	peer, _ := peerAddress(m, raw)
	if !s.channels.free(channel, peer) {
		return bad("the channel is bound to another peer, or the peer to another channel")
	}
	if limit := g.server.quotas.limits.Channels; limit > 0 && s.channels.with(channel) > limit {
		return refusal{code: codeCapacity, why: "the allocation has as many channels as TURNKEY_MAX_CHANNELS lets it"}
	}
	return g.judgeRoom(s, peer.Addr())
}

// judgePeer checks one XOR-PEER-ADDRESS.
func (g *gate) judgePeer(m *stun.Message, raw stun.RawAttribute, s *session, denied func(netip.AddrPort) string) refusal {
	peer, ok := peerAddress(m, raw)
	if !ok {
		return bad("XOR-PEER-ADDRESS")
	}
	if family(peer.Addr()) != s.family {
		return refusal{code: stun.CodePeerAddrFamilyMismatch, why: "peer " + peer.String() + " is of another address family than the relay"}
	}
	if rule := denied(peer); rule != "" {
		why := "peer " + peer.Addr().String() + " is denied: " + rule
		if rule != denyRule { // which wins
			why += "; TURNKEY_ALLOW_PEERS could permit it"
		}
		return refusal{code: stun.CodeForbidden, why: why, rule: rule, denied: peer.Addr()}
	}
	return refusal{}
}

// owned checks that there is an allocation and that it is the requester's.
func owned(r *request, s *session) refusal {
	switch {
	case s == nil || s.ending.Load():
		return refusal{code: stun.CodeAllocMismatch, why: "no allocation"}
	case s.Username != r.username:
		return refusal{code: stun.CodeWrongCredentials, why: "the allocation belongs to another user"}
	}
	return refusal{}
}

// adds is owned for requests that add something to the allocation.
func adds(r *request, s *session) refusal {
	refused := owned(r, s)
	if refused.code == 0 && !time.Now().Before(s.expires.Add(-expiryMargin)) {
		return refusal{code: stun.CodeAllocMismatch, why: "the allocation ends"}
	}
	return refused
}

func bad(what string) refusal {
	return refusal{code: stun.CodeBadRequest, why: "malformed or missing: " + what}
}

// attr returns the value of an attribute, nil if it is not there. It is not ok
// if it has another size.
func attr(m *stun.Message, t stun.AttrType, size int) (value []byte, ok bool) {
	a, found := m.Attributes.Get(t)
	if !found {
		return nil, true
	}
	return a.Value, len(a.Value) == size
}

// unknownAttributes lists the attributes of a request that a server must
// understand and this one does not, each once. DONT-FRAGMENT is one of them,
// as RFC 8656 section 7.2 allows.
func unknownAttributes(m *stun.Message) (unknown stun.UnknownAttributes) {
	for _, a := range m.Attributes {
		switch a.Type {
		case stun.AttrUsername, stun.AttrRealm, stun.AttrNonce, stun.AttrMessageIntegrity, attrIntegritySHA256,
			stun.AttrLifetime, stun.AttrRequestedTransport, stun.AttrRequestedAddressFamily, stun.AttrEvenPort,
			stun.AttrReservationToken, stun.AttrXORPeerAddress, stun.AttrChannelNumber, stun.AttrData:
			continue
		}
		if a.Type.Required() && !contains(unknown, a.Type) && len(unknown) < maxUnknown {
			unknown = append(unknown, a.Type)
		}
	}
	return unknown
}

// maxUnknown bounds the attributes that a 420 lists.
const maxUnknown = 16

func contains(list stun.UnknownAttributes, t stun.AttrType) bool {
	for _, u := range list {
		if u == t {
			return true
		}
	}
	return false
}

// peerAddress reads an XOR-PEER-ADDRESS of message m.
func peerAddress(m *stun.Message, raw stun.RawAttribute) (netip.AddrPort, bool) {
	if len(raw.Value) != 8 && len(raw.Value) != 20 {
		return netip.AddrPort{}, false
	}
	var peer stun.XORMappedAddress
	one := stun.Message{TransactionID: m.TransactionID, Attributes: stun.Attributes{raw}}
	if peer.GetFromAs(&one, stun.AttrXORPeerAddress) != nil {
		return netip.AddrPort{}, false
	}
	addr, ok := netip.AddrFromSlice(peer.IP)
	return netip.AddrPortFrom(addr, uint16(peer.Port)), ok
}

// family returns the address family of a as it is written, so that an
// IPv4-mapped address is IPv6.
func family(a netip.Addr) byte {
	if a.Is4() {
		return familyIPv4
	}
	return familyIPv6
}
