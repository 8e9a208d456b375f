package signal

import (
	"fmt"
	"strings"
	"testing"
)

func TestQueueCloses(t *testing.T) {
	for _, tt := range []struct {
		name string
		drop bool
		want string
	}{{"after what waits", false, "a last"}, {"without what waits", true, "last"}} {
		q := newQueue()
		q.push([]byte("a"))
		q.close([]byte("last"), tt.drop)
		q.close([]byte("twice"), true)
		if !q.push([]byte("late")) {
			t.Errorf("%s: a shut queue is never full", tt.name)
		}
		var got []string
		for f := q.pop(); f != nil; f = q.pop() {
			got = append(got, string(f))
		}
		last, shut, drop := q.end()
		if got := strings.Join(append(got, string(last)), " "); got != tt.want || !shut || drop != tt.drop {
			t.Errorf("%s: got %q, %v, %v, want %q", tt.name, got, shut, drop, tt.want)
		}
	}
}

func parcelOf(n int) parcel { return parcel{frame: append([]byte("{"), make([]byte, n-1)...)} }

func TestOutboxIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name        string
		frame, want int
	}{{"by frames", 1, queueFrames}, {"by bytes", 64 << 10, queueBytes >> 16}} {
		o := outbox{owner: &conn{out: newQueue()}}
		got := 0
		for got <= tt.want && o.push(parcelOf(tt.frame)) {
			got++
		}
		if got != tt.want {
			t.Errorf("%s: took %d, want %d", tt.name, got, tt.want)
		}
		if o.pop(o.owner, nil); !o.push(parcelOf(tt.frame)) {
			t.Errorf("%s: there is no room after one frame was taken out", tt.name)
		}
	}
}

// What was written and not acknowledged is kept up to a bound; who has missed
// more than that cannot resume.
func TestOutboxKeepsABoundedPast(t *testing.T) {
	for _, tt := range []struct {
		name        string
		frame, want int
	}{{"by frames", 1, keptFrames}, {"by bytes", 16 << 10, keptBytes >> 14}} {
		c := &conn{out: newQueue()}
		o := outbox{keeps: true, owner: c}
		sent := int64(0)
		for range tt.want + 10 {
			o.push(parcelOf(tt.frame))
			o.pop(c, nil)
			sent++
		}
		if len(o.parcels) != tt.want || o.kept != tt.want*tt.frame {
			t.Errorf("%s: got %d parcels of %d bytes, want %d of %d", tt.name, len(o.parcels), o.kept, tt.want, tt.want*tt.frame)
		}
		if _, ok := o.attach(c, sent-int64(tt.want)-1); ok {
			t.Errorf("%s: it attached after what it no longer has", tt.name)
		}
		if missed, ok := o.attach(c, sent-int64(tt.want)); !ok || missed != tt.want {
			t.Errorf("%s: got %d missed, %v, want %d", tt.name, missed, ok, tt.want)
		}
	}
}

// However pushes, reads, acknowledgments and new sockets follow each other, the
// peer gets each message once, in order, under its number.
func TestOutboxLosesNothing(t *testing.T) {
	run := func(t *testing.T, steps []byte) {
		c := &conn{out: newQueue()}
		o := outbox{keeps: true, owner: c}
		pushed, got := 0, int64(0)
		read := func() bool {
			f := o.pop(c, nil)
			if f == nil {
				return false
			}
			if want := fmt.Sprintf(`{"seq":%d,"n":%d}`, got+1, got+1); string(f) != want {
				t.Fatalf("got %s, want %s", f, want)
			}
			got++
			return true
		}
		for _, step := range steps {
			switch step % 5 {
			case 0, 1:
				if !o.push(parcel{frame: fmt.Appendf(nil, `{"n":%d}`, pushed+1)}) {
					t.Fatalf("full after %d steps", len(steps))
				}
				pushed++
			case 2:
				read()
			case 3:
				if !o.ack(got - int64(step)%2*min(got, 2)) {
					t.Fatalf("it does not know what it sent, %d", got)
				}
				if o.ack(int64(pushed) + 1) {
					t.Fatalf("it took an acknowledgment of what it had not sent")
				}
			case 4: // the old socket reads on for a moment, and then nothing of it counts
				lost := int64(step) % 3
				old := c
				if o.attach(&conn{out: newQueue()}, int64(pushed)+1); o.owner != old {
					t.Fatal("it attached to who claims to have what was not sent")
				}
				back := max(got-lost, o.newest-int64(len(o.parcels)))
				c = &conn{out: newQueue()}
				missed, ok := o.attach(c, back)
				if !ok || int64(missed) != int64(pushed)-back {
					t.Fatalf("got %d missed after %d of %d, %v", missed, back, pushed, ok)
				}
				if o.pop(old, nil) != nil {
					t.Fatal("the old socket still gets messages")
				}
				got = back
			}
		}
		for read() {
		}
		if got != int64(pushed) {
			t.Fatalf("got %d messages of %d", got, pushed)
		}
		if o.ack(got); o.parcels != nil || o.kept != 0 || o.waiting != 0 || o.written != 0 {
			t.Fatalf("with everything acknowledged it still holds %d parcels, %d and %d bytes", len(o.parcels), o.kept, o.waiting)
		}
	}
	for seed := range uint64(2000) {
		run(t, steps(seed, 200))
	}
}
