package signal

import "time"

// Next is the peer that stands for whoever comes into the room next. Who has
// joined with wait may send it an offer and its candidates.
const Next = "next"

const (
	heldFor        = 60 * time.Second // for somebody to come
	heldCandidates = 64               // of one offer
	heldBytesMost  = 128 << 10        // of it and them
)

// envelope is an offer with its candidates for somebody who has not come yet.
type envelope struct {
	messages []Message
	bytes    int
	at       time.Time
	taker    string // who got it; what follows it goes there, too
}

// hold keeps what a peer sends to whoever comes next, or passes it on to who
// has come by now. The newest offer replaces the one before.
func (r *room) hold(from string, m Message, now time.Time) ([]delivery, *Error) {
	e := r.held[from]
	switch {
	case !r.waits[from]:
		return nil, errNoWait()
	case m.Type == Offer:
		if r.held == nil {
			r.held = map[string]*envelope{}
		}
		r.held[from] = &envelope{messages: []Message{m}, bytes: len(m.body), at: now}
	case m.Type != Candidate:
		return nil, errNextTakesOffers(m.Type)
	case e == nil:
		return nil, errNoOffer()
	case e.taker != "" && r.has(e.taker):
		m.Peer = e.taker
		return r.pass(from, m, now)
	case len(e.messages) > heldCandidates || e.bytes+len(m.body) > heldBytesMost:
		return nil, errManyHeld()
	case e.taker == "":
		e.bytes += len(m.body)
		e.messages = append(e.messages, m)
	}
	return nil, nil
}

// takeHeld passes the offer that waits from a peer on to taker, if there is one
// that is not too old.
func (r *room) takeHeld(from, taker string, now time.Time) (ds []delivery) {
	e := r.held[from]
	if e == nil || e.taker != "" || now.Sub(e.at) > heldFor {
		return nil
	}
	for _, m := range e.messages {
		m.Peer = taker
		more, _ := r.pass(from, m, now) // what is wrong with a candidate is told with later ones
		ds = append(ds, more...)
	}
	e.messages, e.bytes, e.taker = nil, 0, taker
	return ds
}
