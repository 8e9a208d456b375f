package signal

// pastSessions is how many sessions are known when they are over; about 1 MB.
const pastSessions = 8192

// past knows up to which request sessions that are over were handled, the newest
// ones. A client that comes too late to resume is told, and can send the rest in the
// session that it begins, and nothing twice.
type past struct {
	last map[sessionKey]int64
	ring []sessionKey
	next int // in ring, the oldest once it is full
}

// add takes note of a session, if any request of it was handled.
func (p *past) add(key sessionKey, last int64) {
	if last == 0 {
		return
	}
	if p.last == nil {
		p.last = make(map[sessionKey]int64)
	}
	p.last[key] = last
	if len(p.ring) < pastSessions {
		p.ring = append(p.ring, key)
		return
	}
	delete(p.last, p.ring[p.next])
	p.ring[p.next] = key
	p.next = (p.next + 1) % pastSessions
}
