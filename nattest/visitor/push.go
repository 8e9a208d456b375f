package visitor

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// runLife bounds a filtering test, whatever happens.
const runLife = 8 * time.Second

// run is a filtering test of one family that is being made: the loop around
// rounds.
type run struct {
	server  *Server
	sends   [viaCount]func(b []byte, to netip.AddrPort) (int, error)
	bound   [viaCount]netip.AddrPort
	conn    net.PacketConn   // of the control
	control netip.AddrPort   // where the page reaches it
	pushed  []netip.AddrPort // where the page is to send after the rounds, the furthest last
	in      chan arrival
	cancel  context.CancelFunc

	roundsOver, disturbOver, over chan struct{}

	mu     sync.Mutex
	rounds *rounds
	sent   []transaction
}

// arrival is a message that came to a socket.
type arrival struct {
	via  via
	from netip.AddrPort
	raw  []byte
}

// start makes a run towards the page's peer connection, whose address was seen
// in allocation a, or says why there is none.
func (s *Server) start(v *session, a Allocation, page credentials) (*run, *Error) {
	own, port, both := v.of(a.Server)
	if own == nil || port == nil {
		return nil, &Error{Status: 409, Code: "not_testable", Message: "the allocation is not at an address with two STUN ports",
			Hint: "Filtering needs TURNKEY_ALT_PORT beside TURNKEY_PORT."}
	}
	conn, err := s.Listen(own.Bound.Addr())
	if err != nil {
		s.Log.Warn("no socket for a NAT test", "address", own.Bound.Addr(), "error", err)
		return nil, &Error{Status: 503, Code: "busy", Message: "the server has no port for this test", Hint: "Try again in a minute.", RetryAfter: time.Minute}
	}
	at, _ := conn.LocalAddr().(*net.UDPAddr)
	r := &run{
		server: s, conn: conn, control: netip.AddrPortFrom(own.At.Addr(), uint16(at.Port)),
		in: make(chan arrival, 64), roundsOver: make(chan struct{}), disturbOver: make(chan struct{}), over: make(chan struct{}),
		rounds: newRounds(time.Now(), page, newCredentials(), a.Client, port != nil, both != nil),
	}
	r.sends[viaControl] = func(b []byte, to netip.AddrPort) (int, error) { return conn.WriteTo(b, net.UDPAddrFromAddrPort(to)) }
	for i, e := range []*Endpoint{port, both} {
		if e != nil {
			r.sends[viaPort+via(i)], r.bound[viaPort+via(i)] = e.Send, e.Bound
			r.pushed = append(r.pushed, e.At)
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, runLife)
	r.cancel = cancel
	if refused := s.register(ctx, v, r, familyOf(a.Client.Addr())); refused != nil {
		cancel()
		conn.Close()
		return nil, refused
	}
	return r, nil
}

// register lets messages find the run and sets it going, unless there are too
// many: both at once, so that Close waits for every run that there is.
func (s *Server) register(ctx context.Context, v *session, r *run, family int) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case s.sessions[v.id] != v || s.ctx.Err() != nil:
		return errUnknown()
	case v.runs[family] != nil:
		return errDone() // by a request at the same time
	case len(s.runs) >= maxRuns:
		return &Error{Status: 503, Code: "busy", Message: "too many tests at once", Hint: "Try again in a minute.", RetryAfter: time.Minute}
	}
	v.runs[family], s.runs[r.rounds.own.Ufrag] = r, r
	s.running.Go(r.readControl)
	s.running.Go(func() {
		defer s.unregister(r)
		r.loop(ctx)
	})
	return nil
}

func (s *Server) unregister(r *run) {
	r.cancel()
	r.conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, r.rounds.own.Ufrag)
	for _, id := range r.sent {
		delete(s.sent, id)
	}
}

// loop sends what is due and takes what comes: the rounds, then what the page
// sends to where they came from. The page's other connection is answered a
// little longer.
func (r *run) loop(ctx context.Context) {
	defer close(r.over)
	r.drive(ctx, r.step)
	close(r.roundsOver)
	deadline := time.Now().Add(disturbWait)
	r.drive(ctx, func(now time.Time) (time.Time, bool) {
		return deadline, !r.rounds.control.IsValid() || r.rounds.after[r.rounds.far()].IsValid() || !now.Before(deadline)
	})
	close(r.disturbOver)
	deadline = time.Now().Add(replyWait)
	r.drive(ctx, func(now time.Time) (time.Time, bool) { return deadline, !now.Before(deadline) })
}

// step sends what is due.
func (r *run) step(now time.Time) (wake time.Time, over bool) {
	out, wake, over := r.rounds.next(now)
	for _, o := range out {
		r.server.expect(o.id, r)
		r.sent = append(r.sent, o.id)
		_, _ = r.sends[o.via](o.raw, o.to) // a lost check is a lost check
	}
	return wake, over
}

// drive calls step whenever it asks for it and after each arrival.
func (r *run) drive(ctx context.Context, step func(time.Time) (time.Time, bool)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		r.mu.Lock()
		wake, over := step(time.Now())
		r.mu.Unlock()
		if over {
			return
		}
		timer.Reset(time.Until(wake))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case a := <-r.in:
			r.mu.Lock()
			r.take(a, time.Now())
			r.mu.Unlock()
		}
	}
}

func (r *run) take(a arrival, now time.Time) {
	if id, ok := answered(a.raw); ok {
		r.rounds.answered(id, a.via, now)
	} else if a.via == viaControl {
		if reply := r.rounds.checked(a.raw, a.from, now); reply != nil {
			_, _ = r.sends[viaControl](reply, a.from)
		}
	} else {
		r.rounds.returned(a.raw, a.via, a.from)
	}
}

// offer hands a message to the loop; what it has no room for is lost, as on the
// network.
func (r *run) offer(v via, from netip.AddrPort, raw []byte) {
	select {
	case r.in <- arrival{v, unmap(from), append([]byte(nil), raw...)}:
	default:
	}
}

// readControl hands on what comes to the control's socket until that is closed.
func (r *run) readControl() {
	buf := make([]byte, maxMessage)
	for failures := 0; failures < 100; {
		n, from, err := r.conn.ReadFrom(buf)
		select {
		case <-r.over:
			return
		default:
		}
		if err != nil {
			failures++
			continue
		}
		if u, ok := from.(*net.UDPAddr); ok {
			r.offer(viaControl, u.AddrPort(), buf[:n])
		}
	}
}

// expect lets the answer to a check find its run.
func (s *Server) expect(id transaction, r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[id] = r
}

// LastHeard tells how long ago the newest Binding request from an address came to
// the endpoint that is bound to at. A flood of them makes it forget.
func (s *Server) LastHeard(from netip.Addr, at netip.AddrPort) (ago time.Duration, ok bool) {
	return s.sightings.last(anyPort(from), at)
}

// Heard takes a Binding message that came from an address to the endpoint that
// is bound to at: a request is remembered for a while, and an answer to a check,
// or a check for a test that is being made, is taken into account. It is meant
// for every such message of the server: it returns at once, and allocates
// nothing unless the message belongs to a test.
func (s *Server) Heard(at netip.AddrPort, b []byte, from netip.AddrPort) {
	from = unmap(from)
	var r *run
	if id, ok := answered(b); ok {
		s.mu.RLock()
		r = s.sent[id]
		s.mu.RUnlock()
	} else {
		s.sightings.add(from, at)
		if ufrag, ok := addressee(b); ok {
			s.mu.RLock()
			r = s.runs[string(ufrag)]
			s.mu.RUnlock()
		}
	}
	if r == nil || len(b) > maxMessage {
		return
	}
	for v := viaPort; v < viaCount; v++ {
		if r.bound[v] == at {
			r.offer(v, from, b)
		}
	}
}
