package signal

import (
	"slices"

	"turnkey/signal/doctor"
	"turnkey/signal/sdp"
)

// What may wait for its description, from one peer to another.
const (
	earlyCandidates = 64
	earlyBytes      = 64 << 10
)

// dialog is what one peer has told another about a connection, as far as it
// tells right from wrong.
type dialog struct {
	desc     *sdp.Description // the newest
	offering bool             // it is an offer that has no answer yet
	offer    string           // the name of that, "" = it has none
	before   []string         // username fragments of the generations before it
	early    []early          // candidates whose description has not come
	bytes    int              // in early
	sent     candidates
}

// early is a candidate that came before its description.
type early struct {
	ufrag string
	Message
}

// candidates counts those of the newest generation.
type candidates struct {
	all, local, relay int
	over              bool // the end was said
}

// dialog returns what from has told to.
func (r *room) dialog(from, to string) *dialog {
	k := [2]string{from, to}
	d := r.dialogs[k]
	if d == nil {
		if r.dialogs == nil {
			r.dialogs = map[[2]string]*dialog{}
		}
		d = new(dialog)
		r.dialogs[k] = d
	}
	return d
}

// forgetDialogs ends what a peer has with another, or with all (to = "").
func (r *room) forgetDialogs(id, to string) {
	for k := range r.dialogs {
		if k[0] == id && (to == "" || k[1] == to) || k[1] == id && (to == "" || k[0] == to) {
			delete(r.dialogs, k)
		}
	}
}

// describe passes on an offer or an answer, if it can lead to a connection, and
// the candidates that were waiting for it.
func (r *room) describe(from string, m Message) ([]delivery, *Error) {
	mine, theirs := r.dialog(from, m.Peer), r.dialog(m.Peer, from)
	switch {
	case theirs.desc != nil && m.desc.Origin == theirs.desc.Origin && slices.Equal(m.desc.Ufrags(), theirs.desc.Ufrags()):
		return nil, errEcho(m.Type)
	case m.Type == Offer && theirs.offering && r.peer(m.Peer).noRollback:
		return nil, errGlare(m.Peer)
	case m.Type == Answer && !theirs.offering:
		return nil, errNothingToAnswer(m.Peer)
	case m.Type == Answer && m.offer != "" && theirs.offer != "" && m.offer != theirs.offer:
		return nil, errStaleAnswer(m.Peer, m.offer, theirs.offer)
	case m.Type == Answer:
		if f := m.desc.Answers(*theirs.desc); f != nil {
			return nil, ofFault(f)
		}
		theirs.offering, mine.offering = false, false // its own offer, if any, is taken back
	default:
		mine.offering, mine.offer = true, m.offer
	}
	ufrags := m.desc.Ufrags()
	restart := mine.desc != nil && !slices.Equal(mine.desc.Ufrags(), ufrags)
	if restart {
		mine.before = append(mine.before, mine.desc.Ufrags()...)
		mine.before = mine.before[max(0, len(mine.before)-8):]
	}
	if restart || mine.desc == nil {
		mine.sent = candidates{}
	}
	for _, c := range m.desc.Candidates {
		mine.sent.add(c)
	}
	mine.sent.over = m.desc.Complete
	mine.desc = m.desc.Outline()
	body := m.body
	if restart {
		body = append(slices.Clip(body), `,"restart":true`...)
	}
	seen := doctor.Event{What: doctor.Offered, Peer: from, To: m.Peer, Candidates: m.desc.Candidates, Restart: restart}
	if m.Type == Answer {
		seen.What = doctor.Answered
	}
	ds := []delivery{{m.Peer, parcel{relayFrame(m.Type, from, body), from, m.ID}}}
	for _, e := range mine.early {
		body := e.body
		switch {
		case e.ufrag != "" && !slices.Contains(ufrags, e.ufrag):
			seen.Missed++
			continue
		case e.candidate.end:
			mine.sent.over = true
			body = endOf(mine.desc, e.Message)
		default:
			if e.candidate.place(mine.desc) == nil {
				body = e.candidate.filled(e.Message)
			}
			mine.sent.add(e.candidate.Candidate)
			seen.Candidates = append(seen.Candidates, e.candidate.Candidate)
		}
		ds = append(ds, delivery{m.Peer, parcel{relayFrame(e.Type, from, body), from, e.ID}})
	}
	seen.End = mine.sent.over
	r.tell(seen)
	mine.early, mine.bytes = nil, 0
	return ds, nil
}

// trickle passes on a candidate or the end of them: to the description that it
// belongs to, or not at all.
func (r *room) trickle(from string, m Message) (ds []delivery, warn *Error, _ *Error) {
	d, c := r.dialog(from, m.Peer), m.candidate
	known := d.desc != nil && (c.ufrag == "" || slices.ContainsFunc(d.desc.Media, func(m sdp.Media) bool { return m.Ufrag == c.ufrag }))
	seen := doctor.Event{What: doctor.Passed, Peer: from, To: m.Peer, Candidates: []sdp.Candidate{c.Candidate}}
	switch {
	case slices.Contains(d.before, c.ufrag) && c.ufrag != "" && !known:
		seen.What = doctor.Dropped
		r.tell(seen)
		return nil, errStale(c.ufrag), nil
	case !known && (len(d.early) >= earlyCandidates || d.bytes+len(m.body) > earlyBytes):
		return nil, nil, errEarly()
	case !known:
		d.bytes += len(m.body)
		ufrag := c.ufrag
		if n := len(d.early); c.end && ufrag == "" && n > 0 {
			ufrag = d.early[n-1].ufrag // it ends what came before it
		}
		d.early = append(d.early, early{ufrag, m})
		if seen.What = doctor.Held; !c.end {
			r.tell(seen)
		}
		return nil, nil, nil
	case c.end:
		d.sent.over = true
		r.tell(doctor.Event{What: doctor.Ended, Peer: from, To: m.Peer})
		return []delivery{{m.Peer, parcel{relayFrame(m.Type, from, endOf(d.desc, m)), from, m.ID}}}, r.judge(from, m.Peer), nil
	}
	if err := c.place(d.desc); err != nil {
		return nil, nil, err
	}
	d.sent.add(c.Candidate)
	r.tell(seen)
	return []delivery{{m.Peer, parcel{relayFrame(m.Type, from, c.filled(m)), from, m.ID}}}, nil, nil
}

// endOf names the generation of ICE whose candidates end (RFC 8838 section 9).
func endOf(d *sdp.Description, m Message) []byte {
	if ufrags := d.Ufrags(); m.candidate.ufrag == "" && len(ufrags) == 1 {
		return append(slices.Clip(m.body), append([]byte(`,"usernameFragment":`), encode(ufrags[0])...)...)
	}
	return m.body
}

func (c *candidates) add(one sdp.Candidate) {
	c.all++
	if one.Local() {
		c.local++
	}
	if one.Type == "relay" {
		c.relay++
	}
}

// judge says what follows from the candidates of from when all are known. Once
// there is an answer the two may be connected, and then a stack looks for no more
// candidates (libwebrtc does not): it may have some that would do, and lacks the
// others for no fault of its own. @roamhq/wrtc says the end of an answer's
// candidates before the first of them, and then once more.
func (r *room) judge(from, to string) *Error {
	c, theirs := r.dialog(from, to).sent, r.dialog(to, from)
	answered := theirs.desc != nil && !r.dialog(from, to).offering
	switch {
	case answered:
		return nil
	case c.all == 0:
		return errNoCandidates()
	case c.all == c.local:
		return errLocalOnly()
	case r.peer(from).relays && c.relay == 0:
		return errNoRelay()
	}
	return nil
}

// quiet returns what to tell from, some time after it has offered to another
// peer, or should have.
func (r *room) quiet(from, to string) *Error {
	mine, theirs := r.dialogs[[2]string{from, to}], r.dialogs[[2]string{to, from}]
	if !r.has(from) || !r.has(to) {
		return nil
	}
	switch {
	case !r.talks && (mine == nil || mine.desc == nil) && (theirs == nil || theirs.desc == nil):
		return errNobodyOffered(to)
	case mine != nil && mine.offering && mine.sent.all == 0 && !mine.sent.over:
		return errNoCandidates()
	}
	return nil
}
