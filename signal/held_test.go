package signal

import (
	"slices"
	"testing"
	"time"
)

func TestOffersWaitForWhoComesNext(t *testing.T) {
	start := time.Unix(0, 0)
	offer := func(n int) Message { return decoded(t, describing(Offer, Next, n)) }
	candidate := func(n int) Message { return decoded(t, trickling(Next, n, n)) }
	for _, tt := range []struct {
		name  string
		sends []Message
		after time.Duration
		want  []string // after the welcome
		code  string   // of the last message sent
	}{
		{"an offer and its candidates", []Message{offer(1), candidate(1), candidate(1)}, heldFor,
			[]string{"b offer 1", "b candidate 1", "b candidate 1",
				`a {"type":"peer-joined","peer":"b","initiator":true,"polite":true}`}, ""},
		{"the newest replaces", []Message{offer(1), candidate(1), offer(2)}, 0,
			[]string{"b offer 2", `a {"type":"peer-joined","peer":"b","initiator":true,"polite":true}`}, ""},
		{"not for ever", []Message{offer(1)}, heldFor + 1, []string{`a {"type":"peer-joined","peer":"b","initiator":false,"polite":false}`}, ""},
		{"a candidate alone", []Message{candidate(1)}, 0, []string{`a {"type":"peer-joined","peer":"b","initiator":false,"polite":false}`}, "candidate_before_offer"},
		{"something else", []Message{{Type: Note, Peer: Next}}, 0, []string{`a {"type":"peer-joined","peer":"b","initiator":false,"polite":false}`}, "bad_field"},
		{"without end", append([]Message{offer(1)}, slices.Repeat([]Message{candidate(1)}, heldCandidates+1)...), heldFor + 1,
			[]string{`a {"type":"peer-joined","peer":"b","initiator":false,"polite":false}`}, "too_many_candidates"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRoom(3)
			if _, err := r.join(peer{id: "a"}, Message{Wait: true}, "", issued{}, start); err != nil {
				t.Fatal(err)
			}
			var err *Error
			for _, m := range tt.sends {
				var ds []delivery
				if ds, err = r.relay("a", m, start); ds != nil {
					t.Fatalf("got %v delivered to nobody", ds)
				}
			}
			if code := codeOf(err); code != tt.code {
				t.Errorf("got error %q, want %q", code, tt.code)
			}
			ds, _ := r.join(peer{id: "b"}, Message{}, "", issued{}, start.Add(tt.after))
			var got []string
			for _, d := range ds[1:] {
				got = append(got, d.to+" "+brief(d.frame))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What follows an offer that somebody took goes to that one; a third gets
// nothing of it, and nothing waits from who has left or has not asked for it.
func TestWhoTookAnOfferGetsTheRest(t *testing.T) {
	var now time.Time
	r := newRoom(4)
	join := func(id string, wait bool) []delivery {
		t.Helper()
		ds, err := r.join(peer{id: id}, Message{Wait: wait}, "", issued{}, now)
		if err != nil {
			t.Fatal(err)
		}
		return ds
	}
	send := func(from string, kind Type) ([]delivery, string) {
		text := trickling(Next, 1, 1)
		if kind == Offer {
			text = describing(Offer, Next, 1)
		}
		ds, err := r.relay(from, decoded(t, text), now)
		return ds, codeOf(err)
	}
	join("a", true)
	send("a", Offer)
	if ds := join("b", false); len(ds) != 3 {
		t.Errorf("got %d deliveries for the second, want the welcome, the offer and the news", len(ds))
	}
	if ds, code := send("a", Candidate); code != "" || len(ds) != 1 || ds[0].to != "b" {
		t.Errorf("got %v, %s, want the candidate with b", ds, code)
	}
	if ds := join("c", false); len(ds) != 3 || ds[1].to != "a" {
		t.Errorf("got %v for the third, want nothing that was for the second", ds)
	}
	if _, code := send("b", Offer); code != "not_waiting" {
		t.Errorf("got %q, want not_waiting", code)
	}
	send("a", Offer)
	r.leave("a", leftBye)
	if ds := join("d", false); len(ds) != 3 || len(r.held) != 0 || len(r.waits) != 0 {
		t.Errorf("got %v and %d held after the sender left, want nothing", ds, len(r.held))
	}
}

func codeOf(err *Error) string {
	if err == nil {
		return ""
	}
	return err.Code
}
