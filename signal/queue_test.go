package signal

import "testing"

func TestQueueIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name        string
		frame, want int
	}{{"by frames", 1, queueFrames}, {"by bytes", 64 << 10, queueBytes >> 16}} {
		q := newQueue()
		got := 0
		for got <= tt.want && q.push(make([]byte, tt.frame)) {
			got++
		}
		if got != tt.want {
			t.Errorf("%s: took %d, want %d", tt.name, got, tt.want)
		}
		if q.pop(); !q.push(make([]byte, tt.frame)) {
			t.Errorf("%s: there is no room after one frame was taken out", tt.name)
		}
	}
}

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
		got := ""
		f, end := q.pop()
		for ; !end; f, end = q.pop() {
			if got != "" {
				got += " "
			}
			got += string(f)
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
