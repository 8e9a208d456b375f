package nattest

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v3"
)

// Why an answer with the right transaction id does not count.
const (
	faultAsked  = "from the address that was asked"                        // CHANGE-REQUEST was ignored
	faultOrigin = "RESPONSE-ORIGIN does not name where it came from"       // or is missing
	faultLate   = "late: this socket had sent to where the answer is from" // no longer unsolicited
	faultError  = "error"
)

// receive takes a datagram and says whether it answered a test.
func (p *probe) receive(raw []byte, from netip.AddrPort, socket int, now time.Time) bool {
	m, ok := decode(raw)
	if !ok || m.Type != stun.BindingSuccess && m.Type != stun.BindingError {
		return false
	}
	t := p.byID[m.TransactionID]
	if t == nil || t.socket != socket || t.sends == 0 {
		return false
	}
	if m.Type == stun.BindingError {
		return t.refuse(m, from, now)
	}
	mapped, ok := xorAddr(m, stun.AttrXORMappedAddress)
	if !ok {
		return false
	}
	origin, other := addrOf(m, stun.AttrResponseOrigin), addrOf(m, stun.AttrOtherAddress)
	if fault := p.fault(t, from, origin); fault != "" {
		if t.fault == "" && !t.answered() && fault != faultForeign {
			t.fault, t.heard, t.from, t.mapped, t.origin, t.other = fault, now, from, mapped, origin, other
		}
		return false
	}
	if t.answers++; t.answers > 1 {
		return false // the first one counts
	}
	t.done, t.fault, t.heard = true, "", now
	t.from, t.mapped, t.origin, t.other = from, mapped, origin, other
	return true
}

const faultForeign = "from elsewhere"

// fault says why an answer does not count, "" if it does.
func (p *probe) fault(t *test, from, origin netip.AddrPort) string {
	switch {
	case t.expect == t.to && from != t.to:
		return faultForeign
	case t.expect == t.to:
		return ""
	case from == t.to:
		return faultAsked
	case from != t.expect:
		return faultForeign
	case origin != p.beyond(t.expect):
		return faultOrigin
	case (t.kind == kindChangePort || t.kind == kindChangeBoth) && p.closed(t.socket):
		return faultLate
	}
	return ""
}

// refuse takes an error answer, which comes from where the request was sent.
func (t *test) refuse(m *stun.Message, from netip.AddrPort, now time.Time) bool {
	var code stun.ErrorCodeAttribute
	if from != t.to || t.done || code.GetFrom(m) != nil {
		return false
	}
	t.done, t.fault, t.heard, t.from, t.code = true, faultError, now, from, int(code.Code)
	return true
}

// evidence lists all transactions; local are the sockets' own addresses.
func (p *probe) evidence(local []netip.AddrPort) []Evidence {
	out := []Evidence{}
	for _, t := range p.tests {
		if t.sends == 0 {
			continue
		}
		e := Evidence{
			ID: len(out) + 1, Kind: t.kind, Socket: t.socket, Local: local[t.socket], To: t.to, Sends: t.sends, Answers: t.answers,
			From: t.from, Mapped: t.mapped, Origin: t.origin, Other: t.other, Fault: t.fault, Error: t.code,
			TMS: ms(t.sentAt[0].Sub(p.began)),
		}
		if t.expect != t.to {
			e.Expect = t.expect
		}
		if t.from.IsValid() {
			e.TookMS = ms(t.heard.Sub(t.sentAt[0]))
		}
		out = append(out, e)
	}
	return out
}

// trials returns what each socket that the mapping is read from saw; local are
// the sockets' own addresses. An endpoint that is silent, and that the server
// does not list after all, is left out.
func (p *probe) trials(local []netip.AddrPort) []Trial {
	at, out := map[int]int{}, []Trial{}
	for _, t := range p.tests {
		if t.kind != kindMapping || !t.answered() && !slices.Contains(p.own, t.to) && !slices.Contains(p.also, t.to) {
			continue
		}
		i, seen := at[t.socket]
		if !seen {
			i, at[t.socket] = len(out), len(out)
			out = append(out, Trial{Local: local[t.socket]})
		}
		a := Answer{Endpoint: t.to, Sends: t.sends}
		if t.answered() {
			a.Mapped, a.RTTMS = t.mapped, ms(t.rtt())
		}
		out[i].Answers = append(out[i].Answers, a)
	}
	return out
}

// decode reads a STUN message, without trusting it.
func decode(raw []byte) (*stun.Message, bool) {
	if len(raw) < 20 || !stun.IsMessage(raw) {
		return nil, false
	}
	m := &stun.Message{Raw: slices.Clone(raw)}
	return m, m.Decode() == nil
}

// xorAddr reads an attribute of the form of XOR-MAPPED-ADDRESS (RFC 8489
// section 14.2), refusing every length but the two that exist, and port 0.
func xorAddr(m *stun.Message, attr stun.AttrType) (netip.AddrPort, bool) {
	raw, err := m.Get(attr)
	if err != nil || !(len(raw) == 8 && raw[1] == 1 || len(raw) == 20 && raw[1] == 2) {
		return netip.AddrPort{}, false
	}
	var x stun.XORMappedAddress
	if x.GetFromAs(m, attr) != nil {
		return netip.AddrPort{}, false
	}
	a, ok := netip.AddrFromSlice(x.IP)
	if a = a.Unmap(); !ok || a.IsUnspecified() || x.Port <= 0 || x.Port > 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, uint16(x.Port)), true
}

var everybody = netip.AddrFrom4([4]byte{255, 255, 255, 255}) // RFC 919

// addrOf reads an attribute of the form of MAPPED-ADDRESS (RFC 8489 section
// 14.1), zero if there is none that can be used.
func addrOf(m *stun.Message, attr stun.AttrType) netip.AddrPort {
	raw, err := m.Get(attr)
	if err != nil || !(len(raw) == 8 && raw[1] == 1 || len(raw) == 20 && raw[1] == 2) {
		return netip.AddrPort{}
	}
	a, _ := netip.AddrFromSlice(raw[4:])
	port := binary.BigEndian.Uint16(raw[2:])
	if a = a.Unmap(); a.IsUnspecified() || a.IsMulticast() || a == everybody || port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a, port)
}

// ms is a duration in milliseconds to a tenth.
func ms(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)/(100*time.Microsecond)) / 10
}
