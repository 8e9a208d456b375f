package signal

import "time"

// Next is the peer that stands for whoever comes into the room next. Who has
// joined with wait may send it an offer and its candidates.
const Next = "next"

const (
	heldFor        = 60 * time.Second // for somebody to come
	heldCandidates = 64               // of one offer
)

// envelope is an offer with its candidates for somebody who has not come yet.
type envelope struct {
	parcels []parcel
	at      time.Time
	taker   string // who got it; what follows it goes there, too
}

// hold keeps what a peer sends to whoever comes next, or passes it on to who
// has come by now. The newest offer replaces the one before.
func (r *room) hold(from string, m Message, now time.Time) ([]delivery, *Error) {
	p := parcel{relayFrame(m.Type, from, m.body), from, m.ID}
	e := r.held[from]
	switch {
	case !r.waits[from]:
		return nil, errNoWait()
	case m.Type == Offer:
		if r.held == nil {
			r.held = map[string]*envelope{}
		}
		r.held[from] = &envelope{parcels: []parcel{p}, at: now}
	case m.Type != Candidate:
		return nil, errNextTakesOffers(m.Type)
	case e == nil:
		return nil, errNoOffer()
	case e.taker != "" && r.has(e.taker):
		return []delivery{{e.taker, p}}, nil
	case len(e.parcels) > heldCandidates:
		return nil, errManyHeld()
	case e.taker == "":
		e.parcels = append(e.parcels, p)
	}
	return nil, nil
}

// takeHeld returns the offer that waits from a peer, if there is one that is not
// too old, and remembers who took it.
func (r *room) takeHeld(from, taker string, now time.Time) []parcel {
	e := r.held[from]
	if e == nil || e.taker != "" || now.Sub(e.at) > heldFor {
		return nil
	}
	parcels := e.parcels
	e.parcels, e.taker = nil, taker
	return parcels
}
