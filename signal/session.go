package signal

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"time"
)

const (
	// resumeWindow is how long a peer whose socket was lost may come back.
	resumeWindow = 60 * time.Second
	// ackEvery is after how many requests a client that may resume is told that
	// they were handled, so that it need not keep them.
	ackEvery = 32
)

// session is a peer in a room. It begins with a join. Without the wish to
// resume it ends with its socket; else it outlives the socket by resumeWindow.
type session struct {
	id    string
	hub   *hub
	addr  netip.Prefix // whom it counts for while it has no socket
	grant Grant
	out   outbox

	joining *Joining // if Left is to be told of its end
	since   int64    // Unix time of the join

	// key finds the session again. The zero key finds none.
	key sessionKey

	first *first // of a client that has a nonce

	// Under the lock of hub.
	conn   *conn     // nil while the peer is away
	newest time.Time // when the newest socket that it has had was accepted
	last   int64     // the newest request
	resent int64     // requests up to this may come again after a resume
	ended  bool
	why    reason      // of its end; "" = it was never in the room
	reaper *time.Timer // ends the session while the peer is away

	// Under Server.mu.
	held      bool // counts for addr
	forgotten bool
}

// first is what it takes to join anew where the welcome was lost, before which a
// client has no token: until it is heard of again, its nonce does as well.
type first struct {
	nonce   sessionKey
	token   string // "" = it has been heard of, under the lock of hub
	subject string
}

// began reports whether the session began with a join of this nonce, by who holds
// the token of this subject. The time it takes tells nothing of the nonce.
func (s *session) began(nonce sessionKey, subject string) bool {
	return s.first != nil && s.first.subject == subject && subtle.ConstantTimeCompare(s.first.nonce[:], nonce[:]) == 1
}

// sessionKey is the hash of a resume token, so that finding a token takes no
// time that depends on it.
type sessionKey [sha256.Size]byte

func keyOf(token string) sessionKey { return sha256.Sum256([]byte(token)) }

func (s *session) resumable() bool { return s.out.keeps }

// gone says that the session's only socket is about to be closed. The caller
// holds the hub's lock.
func (s *session) gone() bool { return !s.resumable() && s.conn.ended.Load() }

// push sends a message of the server to the peer. It reports whether it fitted.
func (s *session) push(frame []byte) bool { return s.out.push(parcel{frame: frame}) }

// count takes note of a request's number. It reports whether the request is new,
// and an error if its number tells nothing.
func (s *session) count(id int64) (isNew bool, _ *Error) {
	switch {
	case id == 0 || !s.resumable():
		return true, nil
	case id > s.last:
		s.last = id
		return true, nil
	case id <= s.resent:
		return false, nil
	}
	return false, errIDUsed(id, s.last)
}
