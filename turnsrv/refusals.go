package turnsrv

import (
	"log/slog"
	"sync"
	"time"

	"github.com/pion/stun/v3"
	"turnkey/turnsrv/cred"
)

const (
	codeQuota    = stun.CodeAllocQuotaReached
	codeCapacity = stun.CodeInsufficientCapacity

	// refusalPeriod is how long a refusal is remembered, and refusalLines how
	// many lines are written in that time.
	refusalPeriod = 10 * time.Minute
	refusalLines  = 200
)

// refusals logs each refusal once for each user, cause and peer in ten minutes,
// and never more than 200 of them: the rest are counted.
type refusals struct {
	log *slog.Logger

	mu    sync.Mutex
	seen  map[refusalKey]bool
	begun time.Time
	more  int // not written since begun
}

type refusalKey struct {
	user string
	code stun.ErrorCode
	why  string
}

// add logs that the server refused r of user, and why, unless it has done so.
func (l *refusals) add(r *request, transport, user string, refused refusal) {
	key := refusalKey{user: userOf(user), code: refused.code, why: refused.why}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.begun) >= refusalPeriod {
		if l.more > 0 {
			l.log.Info("more requests refused", "count", l.more, "since", l.begun)
		}
		l.seen, l.begun, l.more = make(map[refusalKey]bool), now, 0
	}
	if l.seen[key] {
		return
	}
	if len(l.seen) >= refusalLines {
		l.more++
		return
	}
	l.seen[key] = true
	l.log.Info("request refused", "client", r.from, "transport", transport, "method", r.typ.Method.String(),
		"code", int(refused.code), "user", user, "reason", refused.why)
}

// refuse counts and logs a refusal.
func (s *Server) refuse(r *request, transport, user string, refused refusal) {
	s.tally.refuse(int(refused.code))
	s.refusals.add(r, transport, user, refused)
	if s.watch.Refused != nil {
		name, _ := cred.Parse(user)
		s.watch.Refused(Refused{
			Username: user, Label: name.Name, Client: r.from, Transport: transport,
			Method: r.typ.Method.String(), Code: int(refused.code), Reason: refused.why, Rule: refused.rule, Denied: refused.denied,
		})
	}
}

// userOf returns what names the user in a username: who its quota is of, else its
// label, or all of it.
func userOf(username string) string {
	if u, _ := cred.Parse(username); u.Quota.Of != "" {
		return u.Quota.Of
	}
	for i := range len(username) {
		if username[i] == ':' && i+1 < len(username) {
			return username[i+1:]
		}
	}
	return username
}
