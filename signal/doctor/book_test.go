package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"turnkey/signal/sdp"
)

func joined(bk *Book, room string, ids ...string) {
	for i, id := range ids {
		bk.See(Event{What: Joined, Room: room, Peer: id, TURN: true, Address: netip.MustParseAddr("::ffff:192.0.2.1")}, after(i))
	}
}

func TestBookTellsWhatItSaw(t *testing.T) {
	bk := NewBook(8)
	joined(bk, "demo", "p_b", "p_a", "p_c")
	host, relay := sdp.Candidate{Type: "host", Address: "10.0.0.5"}, sdp.Candidate{Type: "relay", Address: "203.0.113.1"}
	see := func(what What, from, to string, more Event) (begun, failed bool) {
		more.What, more.Room, more.Peer, more.To = what, "demo", from, to
		return bk.See(more, after(5))
	}
	see(Held, "p_a", "p_b", Event{Candidates: []sdp.Candidate{relay, relay}})
	if p, _ := bk.Pair("demo", "p_a", "p_b"); p.Sides[0].Candidates.Held != 2 || p.Sides[0].Candidates.Passed() != 0 {
		t.Errorf("got %+v, want two candidates held", p.Sides[0])
	}
	if begun, _ := see(Offered, "p_a", "p_b", Event{Candidates: []sdp.Candidate{host, relay}, Missed: 1}); !begun {
		t.Error("the first offer does not begin anything")
	}
	if begun, _ := see(Offered, "p_a", "p_b", Event{}); begun {
		t.Error("the second offer begins something")
	}
	see(Answered, "p_b", "p_a", Event{Candidates: []sdp.Candidate{host}})
	see(Passed, "p_b", "p_a", Event{Candidates: []sdp.Candidate{{Type: "host", Address: "x.local"}, {Type: "srflx", Address: "2001:db8::1"}, {Type: "prflx"}}})
	see(Ended, "p_b", "p_a", Event{})
	see(Refused, "p_a", "p_b", Event{Fault: Fault{"candidate", "candidate_no_section", strings.Repeat("ü", 1000)}})
	p, ok := bk.Pair("demo", "p_b", "p_a")
	if !ok || p.Peers[0].ID != "p_b" || p.Peers[0].Address.String() != "192.0.2.1" || !p.Peers[0].TURN {
		t.Fatalf("got %+v %v, want p_b first", p.Peers[0], ok)
	}
	mine, theirs := p.Sides[1], p.Sides[0] // of p_a and of p_b
	if c := mine.Candidates; c.Host != 1 || c.Relay != 1 || c.Held != 0 || c.Dropped != 1 || c.End || fmt.Sprint(c.Addresses) != "[10.0.0.5 203.0.113.1]" {
		t.Errorf("of p_a: got %+v", c)
	}
	if c := theirs.Candidates; c.Host != 2 || c.Srflx != 1 || c.Prflx != 1 || c.Local != 1 || !c.End || c.Passed() != 4 {
		t.Errorf("of p_b: got %+v", c)
	}
	if mine.Fault.Code != "candidate_no_section" || len(mine.Fault.Message) > maxText {
		t.Errorf("got the fault %q with %d bytes", mine.Fault.Code, len(mine.Fault.Message))
	}
	if see(Passed, "p_a", "p_b", Event{Candidates: []sdp.Candidate{host}}); sideOf(bk, "p_a", "p_b").Fault.Code != "" {
		t.Error("a fault is kept though a message of the kind was passed on")
	}
	see(Offered, "p_a", "p_b", Event{Restart: true})
	if s := sideOf(bk, "p_a", "p_b"); s.Restarts != 1 || s.Candidates.Passed() != 0 {
		t.Errorf("after a restart: got %+v", s)
	}
	if _, failed := see(Reported, "p_a", "p_b", Event{Report: Report{State: "failed"}}); !failed {
		t.Error("a failure is not told")
	}
	if !bk.Tell("demo", "p_b", "p_a") || bk.Tell("demo", "p_a", "p_b") || bk.Tell("demo", "p_a", "p_c") || bk.Tell("other", "p_a", "p_b") {
		t.Error("a pair is told of not once")
	}
	if _, failed := see(Reported, "p_b", "p_a", Event{Report: Report{State: "failed"}}); failed {
		t.Error("a failure is told again")
	}
	see(Parted, "p_b", "p_a", Event{})
	if s := sideOf(bk, "p_a", "p_b"); !s.Offered.IsZero() {
		t.Errorf("after a bye: got %+v", s)
	}
	if _, pairs := bk.Room("demo", after(6)); len(pairs) != 3 {
		t.Errorf("got %d pairs of three peers", len(pairs))
	}
}

func sideOf(bk *Book, from, to string) Side {
	p, _ := bk.Pair("demo", from, to)
	return p.Sides[0]
}

func TestBookBelievesNobodyElse(t *testing.T) {
	bk := NewBook(8)
	joined(bk, "demo", "p_a", "p_b")
	joined(bk, "other", "p_x")
	for _, e := range []Event{
		{Room: "demo", Peer: "p_a", To: "p_x"}, {Room: "other", Peer: "p_a", To: "p_b"}, {Room: "demo", Peer: "p_a", To: "p_a"},
		{Room: "demo", Peer: "p_a", To: "p_nobody"}, {Room: "demo", Peer: "p_nobody", To: "p_a"}, {Room: "demo", Peer: "p_a", To: "*"},
	} {
		e.What = Offered
		if begun, _ := bk.See(e, now); begun {
			t.Errorf("%+v begins something", e)
		}
	}
	bk.See(Event{What: Left, Room: "other", Peer: "p_a"}, now)
	bk.Allocated("p_nobody", Allocation{})
	bk.Refused("p_nobody", Refusal{})
	if bk.pairs != 0 || len(bk.peers) != 3 || !bk.peers["p_a"].Gone.IsZero() {
		t.Errorf("got %d pairs of %d peers, %+v", bk.pairs, len(bk.peers), bk.peers["p_a"])
	}
}

func TestBookKeepsTURN(t *testing.T) {
	bk := NewBook(8)
	joined(bk, "demo", "p_a")
	for i := range 20 {
		bk.Allocated("p_a", Allocation{At: after(i), Transport: "udp"})
		bk.Refused("p_a", Refusal{At: after(i), Method: "Allocate", Code: 401, Reason: "expired"})
	}
	peers, _ := bk.Room("demo", now)
	if p := peers[0]; len(p.Allocated) != mostAllocations || p.Allocated[mostAllocations-1].At != after(19) || len(p.Refused) != 1 || p.Refused[0].At != after(19) {
		t.Errorf("got %+v, want the newest, and each refusal once", p)
	}
	for i := range 20 {
		bk.Refused("p_a", Refusal{Code: i})
	}
	if again, _ := bk.Room("demo", now); len(again[0].Refused) != mostRefusals || len(peers[0].Refused) != 1 {
		t.Errorf("got %d refusals, want %d, and a copy that stays", len(again[0].Refused), mostRefusals)
	}
}

func TestBookIsBounded(t *testing.T) {
	bk := NewBook(10)
	for i := range 100 { // one after the other
		id := fmt.Sprint("p_", i)
		joined(bk, "demo", id)
		bk.See(Event{What: Left, Room: "demo", Peer: id}, after(1))
	}
	if len(bk.peers) != 10 {
		t.Errorf("got %d peers, want as many as it holds", len(bk.peers))
	}
	bk = NewBook(1000)
	for i := range 100 {
		id := fmt.Sprint("p_", i)
		joined(bk, "demo", id)
		bk.See(Event{What: Left, Room: "demo", Peer: id}, after(1))
	}
	if n := len(bk.peers); n != mostLeft && n != mostLeft+1 {
		t.Errorf("got %d peers that left, want %d", n, mostLeft)
	}
	bk = NewBook(3)
	joined(bk, "demo", "p_a", "p_b", "p_c")
	for i := range 3 {
		for j := range 3 {
			for range 100 {
				bk.See(Event{What: Passed, Room: "demo", Peer: "p_" + "abc"[i:i+1], To: "p_" + "abc"[j:j+1],
					Candidates: []sdp.Candidate{{Type: "host", Address: fmt.Sprintf("10.0.0.%d", i*100+j)}, {Type: "host", Address: fmt.Sprintf("10.1.%d.%d", i, j)}}}, now)
			}
		}
	}
	if bk.pairs != 3 {
		t.Errorf("got %d pairs, want 3", bk.pairs)
	}
}

func TestBookForgets(t *testing.T) {
	bk := NewBook(8)
	joined(bk, "demo", "p_a", "p_b")
	bk.See(Event{What: Offered, Room: "demo", Peer: "p_a", To: "p_b"}, after(3))
	bk.See(Event{What: Away, Room: "demo", Peer: "p_b"}, after(4))
	if p, _ := bk.Pair("demo", "p_a", "p_b"); !p.Peers[1].Away {
		t.Error("p_b is not away")
	}
	bk.See(Event{What: Back, Room: "demo", Peer: "p_b", Address: netip.MustParseAddr("192.0.2.9")}, after(4))
	if p, _ := bk.Pair("demo", "p_a", "p_b"); p.Peers[1].Away || p.Peers[1].Address.String() != "192.0.2.9" {
		t.Errorf("got %+v, want p_b back from 192.0.2.9", p.Peers[1])
	}
	bk.See(Event{What: Left, Room: "demo", Peer: "p_a"}, after(5))
	bk.See(Event{What: Left, Room: "demo", Peer: "p_b"}, after(65))
	bk.See(Event{What: Joined, Room: "demo", Peer: "p_c"}, after(66))
	if peers, pairs := bk.Room("demo", after(67)); len(peers) != 3 || len(pairs) != 1 {
		t.Errorf("got %d peers and %d pairs, want 3, and the two that met", len(peers), len(pairs))
	}
	if peers, pairs := bk.Room("demo", after(5).Add(keep)); len(peers) != 2 || len(pairs) != 0 || bk.pairs != 0 {
		t.Errorf("ten minutes after p_a left: got %d peers and %d pairs", len(peers), len(pairs))
	}
	bk.See(Event{What: Left, Room: "demo", Peer: "p_c"}, after(70))
	bk.Room("demo", after(70).Add(keep))
	if len(bk.peers) != 0 || len(bk.rooms) != 0 {
		t.Errorf("got %d peers in %d rooms, want nothing", len(bk.peers), len(bk.rooms))
	}
	bk = NewBook(2) // a join makes room for itself
	joined(bk, "demo", "p_a", "p_b")
	bk.See(Event{What: Left, Room: "demo", Peer: "p_a"}, after(1))
	bk.See(Event{What: Joined, Room: "demo", Peer: "p_c"}, after(1).Add(keep+time.Minute))
	if bk.peers["p_c"] == nil {
		t.Error("a full book does not forget when somebody joins")
	}
}

// However often a page says so, a pair that has failed is worth a look once a second.
func TestFailureIsWorthALookOnceASecond(t *testing.T) {
	bk := NewBook(8)
	joined(bk, "demo", "p_a", "p_b", "p_c")
	failed := func(from, to string, at time.Time) bool {
		_, failed := bk.See(Event{What: Reported, Room: "demo", Peer: from, To: to, Report: Report{State: "failed"}}, at)
		return failed
	}
	looks := 0
	for i := range 300 { // for ten seconds
		for _, pair := range [][2]string{{"p_a", "p_b"}, {"p_b", "p_a"}} {
			if failed(pair[0], pair[1], after(0).Add(time.Duration(i)*time.Second/30)) {
				looks++
			}
		}
	}
	if looks != 10 {
		t.Errorf("got %d looks in ten seconds, want 10", looks)
	}
	if !failed("p_a", "p_c", after(9)) {
		t.Error("another pair has to wait, too")
	}
	if bk.Tell("demo", "p_a", "p_b"); failed("p_a", "p_b", after(20)) {
		t.Error("a pair is looked at after it was told of")
	}
}

// What is asked of one room, and who joins, waits for no look at all the others.
func TestOtherRoomsCostNothing(t *testing.T) {
	cost := func(others int) time.Duration {
		bk := NewBook(others + 8)
		for i := range others {
			bk.See(Event{What: Joined, Room: fmt.Sprint("r", i/8), Peer: fmt.Sprint("o_", i)}, now)
		}
		joined(bk, "demo", "p_a", "p_b")
		best := time.Hour
		for range 20 {
			begin := time.Now()
			for range 10 {
				bk.Room("demo", after(3600))
				bk.See(Event{What: Joined, Room: "demo", Peer: "p_a"}, after(3600))
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	if alone, among := cost(0), cost(1<<15); among > 30*alone+time.Millisecond {
		t.Errorf("ten questions and joins take %v among 32768 peers, and %v alone", among, alone)
	}
}
