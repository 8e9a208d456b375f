package signal

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"turnkey/signal/doctor"
)

// notes are the events of a server, one a line.
type notes struct {
	mu    sync.Mutex
	lines []string
	ids   []string // by who came first
}

func (n *notes) see(e doctor.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.What == doctor.Joined {
		n.ids = append(n.ids, e.Peer)
	}
	name := func(id string) string { return string(rune('a' + slices.Index(n.ids, id))) }
	line := fmt.Sprintf("%s %s", e.What, name(e.Peer))
	if e.To != "" {
		line += " " + name(e.To)
	}
	for _, c := range e.Candidates {
		line += " " + c.Type
	}
	line += strings.TrimSpace(fmt.Sprint(" ", e.Fault.Code, e.Report.State, e.Report.Local, e.Report.Protocol))
	for what, is := range map[string]bool{" missed": e.Missed > 0, " end": e.End, " restart": e.Restart, " nowhere": e.Room != "demo" || e.What == doctor.Joined && !e.Address.IsLoopback()} {
		if is {
			line += what
		}
	}
	n.lines = append(n.lines, line)
}

func TestObserverSeesACall(t *testing.T) {
	n := &notes{}
	url := serve(t, New(Config{Admit: admitAll, Observe: n.see}))
	a, b := enter(t, url, "demo"), enter(t, url, "demo")
	a.expect("peer-joined")
	b.send(trickling(a.id, 1, 1000))    // waits for its offer
	b.send(trickling(a.id, 9, 1000))    // never gets one
	b.send(describing(Offer, a.id, 1))  // and takes the first along
	b.send(describing(Answer, a.id, 5)) // of nothing
	b.send(`{"type":"offer","peer":"` + a.id + `","sdp":"v=1"}`)
	b.expect("error")
	b.expect("error")
	a.send(describing(Answer, b.id, 2))
	a.send(trickling(b.id, 2, 1000))
	a.send(`{"type":"candidate","peer":"` + b.id + `","candidate":null}`)
	b.expect("answer")
	b.expect("candidate")
	b.expect("candidate")
	b.send(`{"type":"state","peer":"` + a.id + `","state":"connected","selected":{"local":"relay","remote":"host","protocol":"tcp"}}`)
	b.send(`{"type":"state","peer":"p_gone","state":"closed"}`) // who has left is not missed
	b.send(describing(Offer, a.id, 3))
	b.send(trickling(a.id, 1, 1001)) // too late
	b.expect("warning")
	b.send(`{"type":"bye","peer":"` + a.id + `"}`)
	for range 4 { // offer, candidate, offer, bye
		a.next()
	}
	a.send(`{"type":"bye"}`)
	b.expect("peer-left")
	n.mu.Lock()
	defer n.mu.Unlock()
	want := []string{"joined a", "joined b", "held b a host", "held b a host", "offered b a host missed", "refused b aanswer_without_offer", "refused b asdp_invalid",
		"answered a b", "passed a b host", "ended a b", "reported b aconnectedrelaytcp", "reported b `closed", "offered b a restart", "dropped b a host", "parted b a", "left a"}
	if !slices.Equal(n.lines, want) {
		t.Errorf("got  %q\nwant %q", n.lines, want)
	}
}

func TestObserverSeesAbsence(t *testing.T) {
	n := &notes{}
	url := serve(t, New(Config{Admit: admitAll, Observe: n.see}))
	b := enter(t, url, "demo")
	a := dial(t, url, nil)
	a.send(`{"type":"join","room":"demo","resume":true}`)
	token := a.expect("welcome")["resume"].(string)
	b.expect("peer-joined")
	_ = a.nc.Close()
	b.expect("peer-away")
	again := dial(t, url, nil)
	again.send(`{"type":"resume","resume":"` + token + `"}`)
	again.expect("resumed")
	b.expect("peer-back")
	n.mu.Lock()
	defer n.mu.Unlock()
	if want := []string{"joined a", "joined b", "away b", "back b"}; !slices.Equal(n.lines, want) {
		t.Errorf("got %q, want %q", n.lines, want)
	}
}

func TestStatesThatAreNone(t *testing.T) {
	for _, text := range []string{
		`{"type":"state","peer":"p"}`, `{"type":"state","state":"connected"}`, `{"type":"state","peer":"p","state":"happy"}`,
		`{"type":"state","peer":"p","state":"connected","selected":7}`, `{"type":"state","peer":"p","state":"connected","selected":{"local":"tunnel"}}`,
		`{"type":"state","peer":"p","state":"connected","selected":{"protocol":"sctp"}}`, `{"type":"state","peer":"*","state":"connected"}`,
	} {
		if m, err := Decode([]byte(text)); err == nil {
			t.Errorf("%s: got %+v, want an error", text, m)
		}
	}
	for _, text := range []string{`{"type":"state","peer":"p","state":"failed","selected":null}`, `{"type":"state","peer":"p","state":"new"}`} {
		decoded(t, text)
	}
}

// What waited for its description counts as sent.
func TestHeldCandidatesCount(t *testing.T) {
	r := &room{name: "demo", max: 8}
	for _, id := range []string{"p_a", "p_b"} {
		if _, err := r.join(peer{id: id}, Message{}, "", issued{}, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{trickling("p_b", 1, 1000), describing(Offer, "p_b", 1)} {
		if _, err := r.relay("p_a", decoded(t, text), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if e := r.quiet("p_a", "p_b"); e != nil {
		t.Errorf("got %v, want nothing: a candidate came before its offer", e)
	}
}
