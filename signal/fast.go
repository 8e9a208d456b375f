package signal

import (
	"bytes"
	"strconv"

	"turnkey/signal/sdp"
)

// quick reads the message of which a call has most: a candidate as browsers give
// it. What is not of that shape to the letter it leaves to decode, and what it
// reads it reads as decode does.
func quick(b []byte) (m Message, ok bool) {
	b, ok = bytes.CutPrefix(b, []byte(`{"type":"candidate",`))
	if !ok || len(b) > 2<<10 {
		return m, false
	}
	r := scan(b)
	if r.skip(`"id":`) {
		if m.ID = r.number(); m.ID < 1 || !r.skip(`,`) {
			return m, false
		}
	}
	r.want(`"peer":`)
	m.Peer = r.text()
	r.want(`,"candidate":{"candidate":`)
	one := new(struct {
		iceCandidate
		mid   string
		index int
	})
	line := r.text()
	r.want(`,"sdpMid":`)
	one.mid = r.text()
	r.want(`,"sdpMLineIndex":`)
	one.index = int(r.number())
	one.iceCandidate.mid, one.iceCandidate.index = &one.mid, &one.index
	if r.skip(`,"usernameFragment":`) {
		one.ufrag = r.text()
		r.named = true
	}
	if r.want(`}}`); r.bad || r.rest != "" || m.Peer == Everyone || one.index > 1000 {
		return m, false
	}
	if one.Candidate, ok = sdp.ParseCandidate(line); !ok || line != sdp.MendCandidate(line) {
		return m, false
	}
	m.Type, m.candidate = Candidate, &one.iceCandidate
	m.body = make([]byte, 0, len(b))
	m.body = append(m.body, `,"candidate":{"candidate":"`...)
	m.body = append(append(m.body, line...), '"')
	m.body = strconv.AppendInt(append(m.body, `,"sdpMLineIndex":`...), int64(one.index), 10)
	m.body = append(append(append(m.body, `,"sdpMid":"`...), one.mid...), '"')
	if r.named {
		m.body = append(append(append(m.body, `,"usernameFragment":"`...), one.ufrag...), '"')
	}
	m.body = append(m.body, '}')
	if one.ufrag == "" {
		one.ufrag = one.Candidate.Ufrag
	}
	return m, true
}

// scanner takes JSON from the front of rest, of the plainest kind only.
type scanner struct {
	rest  string
	bad   bool // something else was found
	named bool // there was a username fragment
}

func scan(b []byte) scanner { return scanner{rest: string(b)} }

func (r *scanner) skip(s string) bool {
	if len(r.rest) < len(s) || r.rest[:len(s)] != s {
		return false
	}
	r.rest = r.rest[len(s):]
	return true
}

func (r *scanner) want(s string) { r.bad = r.bad || !r.skip(s) }

// text takes a string of ASCII that JSON writes as it is.
func (r *scanner) text() string {
	if r.want(`"`); r.bad {
		return ""
	}
	for i := range len(r.rest) {
		switch c := r.rest[i]; {
		case c == '"':
			s := r.rest[:i]
			r.rest = r.rest[i+1:]
			return s
		case c < ' ' || c > '~' || c == '\\' || c == '<' || c == '>' || c == '&':
			r.bad = true
			return ""
		}
	}
	r.bad = true
	return ""
}

// number takes a whole number of at most nine digits, with no zero before it.
func (r *scanner) number() (n int64) {
	i := 0
	for ; i < len(r.rest) && i < 9 && r.rest[i]-'0' < 10; i++ {
		n = n*10 + int64(r.rest[i]-'0')
	}
	r.bad = r.bad || i == 0 || i > 1 && r.rest[0] == '0'
	r.rest = r.rest[i:]
	return n
}
