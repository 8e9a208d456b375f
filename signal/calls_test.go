package signal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// generation is one description, of an offer or of an answer, with its candidates.
type generation struct {
	kind        Type
	from, to    string
	name        string // of the offer
	sent, heard []string
}

// calls are all generations of a run, by the number that is in their descriptions.
type calls struct {
	t    *testing.T
	seed uint64
	all  []*generation
	told []*saying         // messages
	who  map[string]string // names of clients, by the ids they had
}

// saying is a message from one session to another, or to all.
type saying struct {
	from, to string
	heard    map[string]int // how often, by the receiver's name
}

// caller is a program that connects to everybody in the room as a Go program would: it
// offers to who was there before, answers offers, and begins anew after a welcome.
type caller struct {
	*calls
	name    string
	send    func(kind Type, peer string, members map[string]any) (int64, bool)
	self    string
	todo    []step
	offered map[string]*generation // the newest, by peer
	answers map[string]*generation
	newest  map[string]int // message, by the sender's name
}

// step is one message that is to be sent to a peer.
type step struct {
	peer string
	do   func()
}

const candidatesEach = 3

func (a *caller) begin(kind Type, peer, name string) {
	a.drop(peer)
	n := len(a.all)
	if name == "" {
		name = fmt.Sprint("offer ", n)
	}
	g := &generation{kind: kind, from: a.self, to: peer, name: name}
	a.all = append(a.all, g)
	if kind == Offer {
		a.offered[peer] = g
	} else {
		a.answers[peer] = g
	}
	say := func(what string, kind Type, members map[string]any) {
		a.todo = append(a.todo, step{peer, func() {
			if _, ok := a.send(kind, peer, members); !ok {
				a.t.Fatal("too much is held")
			}
			g.sent = append(g.sent, what)
		}})
	}
	say(string(kind), kind, map[string]any{"sdp": sdpOf(kind, n), "offer": name})
	for i := range candidatesEach {
		say(fmt.Sprintf("%d%d", n, i), Candidate, map[string]any{"candidate": map[string]any{
			"candidate": fmt.Sprintf("candidate:1 1 udp 1 192.0.2.1 1%d%d typ host", n, i), "sdpMid": "0", "usernameFragment": fmt.Sprint("u", n)}})
	}
	say("end", Candidate, map[string]any{"candidate": nil, "usernameFragment": fmt.Sprint("u", n)})
}

// drop forgets what was to be sent to a peer.
func (a *caller) drop(peer string) {
	a.todo = slices.DeleteFunc(a.todo, func(s step) bool { return s.peer == peer })
}

// act sends the next message.
func (a *caller) act() bool {
	if len(a.todo) == 0 {
		return false
	}
	s := a.todo[0]
	a.todo = a.todo[1:]
	s.do()
	return true
}

// renew ends a connection and begins another.
func (a *caller) renew(peer string) {
	a.send(Bye, peer, nil)
	a.begin(Offer, peer, "")
}

// say sends a number to a peer or to all.
func (a *caller) say(peer string) {
	if _, ok := a.send(Note, peer, map[string]any{"data": len(a.told)}); ok {
		a.told = append(a.told, &saying{a.self, peer, map[string]int{}})
	}
}

func (a *caller) handle(e Event) {
	switch e.Type {
	case "welcome":
		a.self, a.todo = e.Peer, nil
		a.who[e.Peer] = a.name
		a.offered, a.answers = map[string]*generation{}, map[string]*generation{}
		for _, p := range e.Peers {
			if p.Initiator {
				a.begin(Offer, p.ID, "")
			}
		}
	case "peer-left":
		a.drop(e.Peer)
		delete(a.offered, e.Peer)
		delete(a.answers, e.Peer)
	case "bye":
		a.drop(e.Peer)
	case "offer":
		a.hear(e, numberOf(e.SDP, "o=- "), "offer")
		a.begin(Answer, e.Peer, e.Offer)
	case "answer":
		a.hear(e, numberOf(e.SDP, "o=- "), "answer")
	case "candidate":
		a.candidate(e)
	case "message":
		n, from := number(a.t, e), a.who[e.Peer]
		if last, ok := a.newest[from]; ok && last >= n {
			a.t.Fatalf("seed %d: %s got %d of %s after %d", a.seed, a.name, n, from, last)
		}
		a.newest[from] = n
		a.told[n].heard[a.name]++
	case "error":
		if !slices.Contains([]string{"peer_not_found", "not_delivered", "answer_stale", "answer_without_offer"}, e.Code) {
			a.t.Fatalf("seed %d: %s got %s", a.seed, a.self, e.Raw)
		}
	}
}

// numberOf is the number that follows a word.
func numberOf(text, word string) int {
	_, after, _ := strings.Cut(text, word)
	n, err := strconv.Atoi(strings.FieldsFunc(after, func(r rune) bool { return r < '0' || r > '9' })[0])
	if err != nil {
		return -1
	}
	return n
}

func (a *caller) candidate(e Event) {
	var end struct {
		UsernameFragment string
		Candidate        *struct{ Candidate, UsernameFragment string }
	}
	if err := json.Unmarshal(e.Raw, &end); err != nil {
		a.t.Fatal(err)
	}
	if end.Candidate == nil {
		a.hear(e, numberOf(end.UsernameFragment, "u"), "end")
		return
	}
	port := strings.Fields(end.Candidate.Candidate)[5]
	a.hear(e, numberOf(end.Candidate.UsernameFragment, "u"), port[1:])
}

// hear notes a message of a generation. It has to be of the two that are there now.
func (a *caller) hear(e Event, n int, what string) {
	g := a.all[n]
	if g.from != e.Peer || g.to != a.self {
		a.t.Fatalf("seed %d: %s got %s of %+v", a.seed, a.self, e.Raw, g)
	}
	g.heard = append(g.heard, what)
}

// connected reports whether two have a whole offer and the whole answer to it, and
// no other offer.
func connected(a, b *caller) bool {
	if a.offered[b.self] == nil {
		a, b = b, a
	}
	offer, answer := a.offered[b.self], b.answers[a.self]
	whole := func(g *generation) bool { return g != nil && len(g.heard) == candidatesEach+2 }
	return b.offered[a.self] == nil && whole(offer) && whole(answer) && answer.name == offer.name
}

// check holds what was heard against what was sent.
func (w *calls) check(apps []*caller) {
	for n, g := range w.all {
		if len(g.heard) > len(g.sent) || !slices.Equal(g.heard, g.sent[:len(g.heard)]) {
			w.t.Fatalf("seed %d: %q was heard of %s %d, want %q", w.seed, g.heard, g.kind, n, g.sent)
		}
	}
	for i, a := range apps {
		for _, b := range apps[:i] {
			if !connected(a, b) {
				w.t.Fatalf("seed %d: %s and %s have %+v, %+v, %+v and %+v", w.seed, a.name, b.name,
					a.offered[b.self], b.answers[a.self], b.offered[a.self], a.answers[b.self])
			}
		}
	}
	for n, s := range w.told {
		for _, to := range apps {
			if got := s.heard[to.name]; got > 1 || got == 0 && s.to == to.self {
				w.t.Fatalf("seed %d: message %d, %+v, was heard %d times by %s", w.seed, n, s, got, to.name)
			}
		}
	}
}
