package nattest

import (
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v3"
)

// sendAt is when a request is sent, counted from its test's start, until it is
// answered: faster than RFC 8489 section 6.2.1, which takes 39.5 s to give up.
var sendAt = [...]time.Duration{0, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, 900 * time.Millisecond}

const (
	lastWait = 600 * time.Millisecond // how long the last request may take
	stagger  = 20 * time.Millisecond  // between the sockets
)

// packet is a datagram that the probe wants sent.
type packet struct {
	socket int
	to     netip.AddrPort
	raw    []byte
}

// test is one Binding transaction (RFC 8489 section 2): all its requests carry
// one transaction id, and only an answer with that id from the expected source,
// on its own socket, counts.
type test struct {
	socket int
	to     netip.AddrPort
	from   netip.AddrPort // where the answer must come from
	raw    []byte
	id     [stun.TransactionIDSize]byte
	start  time.Time
	sends  int
	sentAt time.Time
	done   bool
	mapped netip.AddrPort // XOR-MAPPED-ADDRESS
	rtt    time.Duration  // 0 unless one request was sent: a later answer is ambiguous
}

// probe is the whole of a family's tests. It does no I/O and reads no clock.
type probe struct {
	tests []*test
	byID  map[[stun.TransactionIDSize]byte]*test
}

// newProbe asks every endpoint from every socket, each socket a little later
// than the one before it.
func newProbe(now time.Time, sockets int, endpoints []netip.AddrPort) *probe {
	p := &probe{byID: map[[stun.TransactionIDSize]byte]*test{}}
	for s := range sockets {
		for _, ep := range endpoints {
			p.add(now.Add(time.Duration(s)*stagger), s, ep)
		}
	}
	return p
}

func (p *probe) add(start time.Time, socket int, ep netip.AddrPort) {
	m := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	t := &test{socket: socket, to: ep, from: ep, raw: m.Raw, id: m.TransactionID, start: start}
	p.tests = append(p.tests, t)
	p.byID[t.id] = t
}

// next returns what is due now, and when to call again (or that all is over).
func (p *probe) next(now time.Time) (out []packet, wake time.Time, over bool) {
	over = true
	for _, t := range p.tests {
		if t.done {
			continue
		}
		if t.sends < len(sendAt) && !now.Before(t.start.Add(sendAt[t.sends])) {
			// One packet, however late the caller is.
			for t.sends < len(sendAt) && !now.Before(t.start.Add(sendAt[t.sends])) {
				t.sends++
			}
			t.sentAt = now
			out = append(out, packet{t.socket, t.to, t.raw})
		}
		due := t.start.Add(sendAt[len(sendAt)-1] + lastWait)
		if t.sends < len(sendAt) {
			due = t.start.Add(sendAt[t.sends])
		} else if !now.Before(due) {
			continue
		}
		over = false
		if wake.IsZero() || due.Before(wake) {
			wake = due
		}
	}
	return out, wake, over
}

// receive takes a datagram and says whether it answered a test.
func (p *probe) receive(raw []byte, from netip.AddrPort, socket int, now time.Time) bool {
	m, ok := decode(raw)
	if !ok || m.Type != stun.BindingSuccess {
		return false
	}
	t := p.byID[m.TransactionID]
	if t == nil || t.socket != socket || t.from != from || t.sends == 0 || t.done {
		return false
	}
	mapped, ok := xorAddr(m, stun.AttrXORMappedAddress)
	if !ok {
		return false
	}
	t.done, t.mapped = true, mapped
	if t.sends == 1 {
		t.rtt = now.Sub(t.sentAt)
	}
	return true
}

// trials returns what each socket saw; local are the sockets' own addresses.
func (p *probe) trials(local []netip.AddrPort) []Trial {
	out := make([]Trial, len(local))
	for i, l := range local {
		out[i].Local = l
	}
	for _, t := range p.tests {
		a := Answer{Endpoint: t.to, Mapped: t.mapped, Sends: t.sends, RTTMS: ms(t.rtt)}
		out[t.socket].Answers = append(out[t.socket].Answers, a)
	}
	return out
}

// decode reads a STUN message, without copying and without trusting it.
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

// ms is a duration in milliseconds to a tenth.
func ms(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)/(100*time.Microsecond)) / 10
}
