package nattest

import (
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v3"
)

// ask is one STUN transaction of an opt-in test: a request that one socket
// repeats until it is done with, and what was heard of it at any socket.
type ask struct {
	packet
	id    [stun.TransactionIDSize]byte
	at    []time.Time   // when to send it
	wait  time.Duration // how long to listen after the last time
	peer  bool          // it goes to a socket of the test itself
	sends int
	heard []hearing
	done  bool // no more is sent, and nothing waited for
}

// hearing is a message with the transaction id of an ask: an answer from where
// the request was sent, or, where that was a peer, the request itself.
type hearing struct {
	socket  int
	from    netip.AddrPort
	at      time.Time
	message *stun.Message
}

// maxHeard bounds what is kept of one transaction.
const maxHeard = 8

// first returns the first answer of a class, at whatever socket.
func (k *ask) first(class stun.MessageClass) (hearing, bool) {
	i := slices.IndexFunc(k.heard, func(h hearing) bool { return h.message.Type.Class == class })
	if i < 0 {
		return hearing{}, false
	}
	return k.heard[i], true
}

// refusal is the code of the first error answer, 0 without one.
func (k *ask) refusal() int {
	h, ok := k.first(stun.ClassErrorResponse)
	var code stun.ErrorCodeAttribute
	if !ok || code.GetFrom(h.message) != nil {
		return 0
	}
	return int(code.Code)
}

// mapped is the address in the success answer that came to the asking socket.
func (k *ask) mapped() (netip.AddrPort, bool) {
	h, ok := k.first(stun.ClassSuccessResponse)
	if !ok || h.socket != k.socket {
		return netip.AddrPort{}, false
	}
	return xorAddr(h.message, stun.AttrXORMappedAddress)
}

// asks is a machine that sends requests at their times.
type asks struct {
	all  []*ask
	byID map[[stun.TransactionIDSize]byte]*ask
}

// add sends m from a socket at start and at the given times after it.
func (a *asks) add(m *stun.Message, socket int, to netip.AddrPort, start time.Time, after ...time.Duration) *ask {
	k := &ask{packet: packet{socket, to, m.Raw}, id: m.TransactionID, wait: lastWait}
	for _, d := range after {
		k.at = append(k.at, start.Add(d))
	}
	if a.byID == nil {
		a.byID = map[[stun.TransactionIDSize]byte]*ask{}
	}
	a.all, a.byID[k.id] = append(a.all, k), k
	return k
}

func (a *asks) next(now time.Time) (out []packet, wake time.Time, over bool) {
	over = true
	for _, k := range a.all {
		if k.done {
			continue
		}
		if k.sends < len(k.at) && !now.Before(k.at[k.sends]) {
			// One packet, however late the caller is.
			for k.sends < len(k.at) && !now.Before(k.at[k.sends]) {
				k.sends++
			}
			out = append(out, k.packet)
		}
		due := k.at[len(k.at)-1].Add(k.wait)
		if k.sends < len(k.at) {
			due = k.at[k.sends]
		} else if !now.Before(due) {
			k.done = true
			continue
		}
		wake, over = sooner(wake, due), false
	}
	return out, wake, over
}

// hear takes a datagram and returns the transaction it belongs to, or nil.
func (a *asks) hear(raw []byte, from netip.AddrPort, socket int, now time.Time) (*ask, hearing) {
	m, ok := decode(raw)
	if !ok || m.Type.Method != stun.MethodBinding {
		return nil, hearing{}
	}
	k := a.byID[m.TransactionID]
	if k == nil || k.sends == 0 || len(k.heard) == maxHeard {
		return nil, hearing{}
	}
	answer := m.Type.Class == stun.ClassSuccessResponse || m.Type.Class == stun.ClassErrorResponse
	if k.peer && m.Type.Class != stun.ClassRequest || !k.peer && (!answer || from != k.to) {
		return nil, hearing{}
	}
	h := hearing{socket, from, now, m}
	k.heard = append(k.heard, h)
	return k, h
}

// paired sends requests in rounds, each beside a control: a plain request from
// the same socket. It ends as soon as every request is settled.
type paired struct {
	subjects, controls []*ask
}

// Silence is evidence where rounds requests went unanswered, and at most one of
// as many controls did.
const (
	rounds = 8
	every  = 80 * time.Millisecond
)

// rounds adds requests that are sent from now on.
func (a *asks) rounds(now time.Time, socket int, server netip.AddrPort, request requester, subjects ...*stun.Message) *paired {
	p := &paired{}
	var at []time.Duration
	for i := range rounds {
		at = append(at, time.Duration(i)*every)
		p.controls = append(p.controls, a.add(request(), socket, server, now, at[i]))
	}
	for _, m := range subjects {
		p.subjects = append(p.subjects, a.add(m, socket, server, now, at...))
	}
	return p
}

// settle ends a request, and with the last one the controls not yet sent.
func (p *paired) settle(k *ask) {
	k.done = true
	if slices.ContainsFunc(p.subjects, func(s *ask) bool { return !s.done }) {
		return
	}
	for _, c := range p.controls {
		c.done = c.done || c.sends == 0
	}
}

// proves says whether silence to a request of these means something.
func (p *paired) proves() bool {
	n := 0
	for _, c := range p.controls {
		if _, ok := c.first(stun.ClassSuccessResponse); ok {
			n++
		}
	}
	return n >= rounds-1
}

// requester builds Binding requests.
type requester func(set ...stun.Setter) *stun.Message
