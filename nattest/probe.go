package nattest

import (
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v3"
)

// When a request is sent, counted from its test's start, until it is answered:
// faster than RFC 8489 section 6.2.1, which takes 39.5 s to give up. Servers of
// others are asked less often (RFC 5780 section 5), and a mapping that is asked
// again is known to be reachable.
var (
	sendAt   = [...]time.Duration{0, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, 900 * time.Millisecond}
	politely = [...]time.Duration{0, 400 * time.Millisecond, 1000 * time.Millisecond}
	briskly  = [...]time.Duration{0, 80 * time.Millisecond, 180 * time.Millisecond, 320 * time.Millisecond, 480 * time.Millisecond}
)

const (
	lastWait   = 600 * time.Millisecond // how long the last request may take
	stagger    = 20 * time.Millisecond  // between the sockets
	oneByOne   = 3 * time.Millisecond   // between a socket's endpoints: a NAT that sees two new flows at once may take them for two sockets
	politeness = 100 * time.Millisecond // between two requests to one server of others
)

// The kinds of transactions, as Evidence.Kind has them.
const (
	kindMapping       = "mapping"        // where does this endpoint see a fresh socket?
	kindAgain         = "again"          // the same at the end
	kindControl       = "control"        // a plain request of a filtering round
	kindChangePort    = "change_port"    // answer from your other port
	kindChangeBoth    = "change_both"    // answer from your other address and port
	kindSolicitedPort = "solicited_port" // the same on a socket that has asked there before, where every NAT with
	kindSolicitedBoth = "solicited_both" // endpoint-independent mapping lets the answer in: can the server do it?
	kindDisturb       = "disturb"        // where does the endpoint that sent unsolicited see this socket?
)

// packet is a datagram that the probe wants sent.
type packet struct {
	socket int
	to     netip.AddrPort
	raw    []byte
}

// test is one Binding transaction (RFC 8489 section 2): all its requests carry
// one transaction id, and only an answer with that id, from the expected source
// and on its own socket, counts.
type test struct {
	kind   string
	socket int
	to     netip.AddrPort
	expect netip.AddrPort // where the answer must come from
	raw    []byte
	id     [stun.TransactionIDSize]byte
	start  time.Time
	at     []time.Duration // after start
	wait   time.Duration   // after the last request
	polite bool            // the server is somebody else's
	step   int             // of at: those before it have passed
	sends  int             // requests that left, no more than have passed
	sentAt [2]time.Time    // the first and the last request
	done   bool            // answered, or refused

	answers int // that count; the first is kept
	heard   time.Time
	from    netip.AddrPort
	mapped  netip.AddrPort // XOR-MAPPED-ADDRESS
	origin  netip.AddrPort // RESPONSE-ORIGIN
	other   netip.AddrPort // OTHER-ADDRESS
	code    int            // of an error answer
	fault   string         // why an answer that came does not count
}

// answered says that an answer counts.
func (t *test) answered() bool { return t.answers > 0 }

// rtt is the round trip, 0 unless one request was sent: a later answer is ambiguous.
func (t *test) rtt() time.Duration {
	if !t.answered() || t.sends != 1 {
		return 0
	}
	return t.heard.Sub(t.sentAt[0])
}

// plan is what a probe has to work with. Its sockets are numbered: first those
// that the mapping is read from, then those for filtering, then the reserve.
type plan struct {
	mapping, filtering, spare int
	own                       []netip.AddrPort // endpoints of the server
	also                      []netip.AddrPort // and of others, for the mapping alone
	token                     []byte           // NATTEST-TOKEN, nil without
	nat64                     netip.Prefix     // IPv4 beyond a NAT64 (RFC 6052)
	until                     time.Time        // how long to wait for a token, where it is needed
}

func (p plan) sockets() int { return p.mapping + p.filtering + p.spare }

// probe is the whole of a family's tests. It does no I/O and reads no clock.
type probe struct {
	plan
	began    time.Time
	tests    []*test
	byID     map[[stun.TransactionIDSize]byte]*test
	asked    map[netip.Addr]time.Time // servers of others, the last request to each
	base     *test                    // the answer that filtering is tested around
	port     netip.AddrPort           // where an answer from another port comes from
	both     netip.AddrPort           // and one from another address and port
	doors    []*door
	reserved bool             // the reserve is in use
	again    bool             // the mappings have been asked for again
	declined []netip.AddrPort // claimed endpoints that are not to be asked
}

// newProbe asks every endpoint from every socket, each socket a little later
// than the one before it.
func newProbe(now time.Time, p plan) *probe {
	b := &probe{plan: p, began: now, byID: map[[stun.TransactionIDSize]byte]*test{}, asked: map[netip.Addr]time.Time{}}
	for s := range p.mapping {
		b.trial(now.Add(time.Duration(s)*stagger), s)
	}
	return b
}

// trial asks all endpoints from one socket.
func (p *probe) trial(start time.Time, socket int) {
	for i, ep := range p.own {
		p.add(kindMapping, start.Add(time.Duration(i)*oneByOne), socket, ep, ep, sendAt[:], lastWait)
	}
	for _, ep := range p.also {
		p.add(kindMapping, start, socket, ep, ep, politely[:], lastWait).polite = true
	}
}

// maxTests bounds what is kept of one family.
const maxTests = 400

// add makes a transaction. at is when to send, after start, until it is
// answered; wait is how long the last request may take.
func (p *probe) add(kind string, start time.Time, socket int, to, expect netip.AddrPort, at []time.Duration, wait time.Duration) *test {
	set := []stun.Setter{stun.TransactionID, stun.BindingRequest}
	// A control request asks for no change: what drops CHANGE-REQUEST drops it,
	// too. A server that knows no other place refuses it.
	if change := changes[kind]; change != 0 || kind == kindControl && (p.both.IsValid() || len(p.token) > 0) {
		set = append(set, stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{0, 0, 0, change}})
	}
	if len(p.token) > 0 && !slices.Contains(p.also, to) {
		set = append(set, stun.RawAttribute{Type: attrToken, Value: p.token})
	}
	m := stun.MustBuild(set...)
	t := &test{kind: kind, socket: socket, to: to, expect: expect, raw: m.Raw, id: m.TransactionID, start: start, at: at, wait: wait}
	if len(p.tests) < maxTests {
		p.tests = append(p.tests, t)
		p.byID[t.id] = t
	}
	return t
}

// next returns what is due now, and when to call again (or that all is over).
func (p *probe) next(now time.Time) (out []packet, wake time.Time, over bool) {
	wake, over = p.advance(now)
	for _, t := range p.tests {
		if t.done {
			continue
		}
		due := t.due(now, p.asked)
		if t.step < len(t.at) && !now.Before(due) {
			t.send(now)
			if t.polite {
				p.asked[t.to.Addr()] = now
			}
			out = append(out, packet{t.socket, t.to, t.raw})
			due = t.due(now, p.asked)
		}
		if t.step == len(t.at) && !now.Before(due) {
			continue
		}
		over = false
		wake = sooner(wake, due)
	}
	return out, wake, over
}

// due is when the next request is, or when it is too late for an answer.
func (t *test) due(now time.Time, asked map[netip.Addr]time.Time) time.Time {
	if t.step == len(t.at) {
		if t.polite { // it may have been kept waiting
			return t.sentAt[1].Add(t.wait)
		}
		return t.start.Add(t.at[len(t.at)-1] + t.wait)
	}
	due := t.start.Add(t.at[t.step])
	if free := asked[t.to.Addr()].Add(politeness); t.polite && due.Before(free) {
		return free
	}
	return due
}

// send counts a request: one, however late the caller is.
func (t *test) send(now time.Time) {
	if t.sends == 0 {
		t.sentAt[0] = now
	}
	t.sentAt[1] = now
	t.sends++
	for t.step++; t.step < len(t.at) && !now.Before(t.start.Add(t.at[t.step])); t.step++ {
	}
}

// sooner is the earlier of two times; the zero time is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
