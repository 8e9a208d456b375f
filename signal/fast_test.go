package signal

import (
	"fmt"
	"reflect"
	"testing"
)

// FuzzQuick holds the short way through a candidate to the long one.
func FuzzQuick(f *testing.F) {
	const line = `candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host generation 0 ufrag x7Gh`
	for _, c := range []string{
		`{"candidate":"%s","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"x7Gh"}`, `{"candidate":"%s","sdpMid":"audio"}`,
		`{"candidate":"%s","sdpMLineIndex":1}`, `{"candidate":"%s","sdpMid":"","sdpMLineIndex":00}`, `{"candidate":" %s","sdpMid":"0"}`,
		`{"candidate":"%s \u0041","sdpMid":"0"}`, `{"candidate":"%s","sdpMid":"<"}`, `{"candidate":"%s","sdpMid":"0","sdpMLineIndex":1001}`,
		`{"candidate":"%s","sdpMid":"0","sdpMid":"1"}`, `{"candidate":"%s","sdpMid":"0","usernameFragment":""}`, `{"candidate":"%s"}`, `null`,
	} {
		if c != "null" {
			c = fmt.Sprintf(c, line)
		}
		f.Add([]byte(`{"type":"candidate","peer":"p_b","candidate":` + c + `}`))
		f.Add([]byte(`{"type":"candidate","id":12,"peer":"p_b","candidate":` + c + `}`))
		f.Add([]byte(`{"type":"candidate","id":0,"peer":"*","candidate":` + c + `} `))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := quick(b)
		if !ok {
			return
		}
		want, err := decodeAny(b)
		if err != nil {
			t.Fatalf("%s was read, and is refused: %v", b, err)
		}
		want.candidate.fields, want.candidate.rest = nil, nil // which only a candidate without a whole place needs
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: got %+v %s, want %+v %s", b, got.candidate, got.body, want.candidate, want.body)
		}
	})
}

// The candidates of browsers take the short way, for four allocations.
func TestCandidatesOfBrowsersAreQuick(t *testing.T) {
	b := []byte(`{"type":"candidate","id":7,"peer":"p_b","candidate":{"candidate":"candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host generation 0 ufrag x7Gh","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"x7Gh"}}`)
	ok := false
	if n := testing.AllocsPerRun(100, func() { _, ok = quick(b) }); !ok || n > 4 {
		t.Errorf("got %v, %v allocations", ok, n)
	}
}
