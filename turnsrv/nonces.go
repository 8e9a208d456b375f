package turnsrv

import "time"

// nonceLife is how long pion accepts a nonce that it has issued.
const nonceLife = time.Hour

// nonces are those that pion has issued on one socket. pion makes one a minute,
// for everybody, so there are at most about sixty.
type nonces struct{ issued map[string]time.Time }

// saw notes a nonce that pion has just issued.
func (n *nonces) saw(nonce []byte, now time.Time) {
	if n.issued == nil {
		n.issued = make(map[string]time.Time)
	}
	if _, known := n.issued[string(nonce)]; known {
		return
	}
	for old, at := range n.issued {
		if now.Sub(at) >= nonceLife {
			delete(n.issued, old)
		}
	}
	n.issued[string(nonce)] = now
}

// good reports whether a nonce was issued and is still fresh.
func (n *nonces) good(nonce []byte, now time.Time) bool {
	at, known := n.issued[string(nonce)]
	return known && now.Sub(at) < nonceLife
}
