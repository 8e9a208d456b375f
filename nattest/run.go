package nattest

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Time limits of Run, without the tests that are opt-in.
const (
	limit     = 4700 * time.Millisecond // altogether; what has not ended by then is told as it is
	soon      = 2500 * time.Millisecond // from then on one TURN URL that works will do
	headStart = 500 * time.Millisecond  // for the server's document, before its usual ports are asked
	hopeFor   = 1700 * time.Millisecond // after the start, for a token
)

// finding is what all tests brought, before it is judged.
type finding struct {
	facts  facts
	eps    []netip.AddrPort
	also   []netip.AddrPort // those of eps that are not the server's
	notes  []string
	v4, v6 observation
}

// gather tests the server from both families, and tells once the server's HTTP
// has answered, or has failed to. The probe does not wait for that longer than
// a head start: what the document brings later is added to the test.
func (c *Config) gather(ctx context.Context, t target, addrs []netip.Addr, start time.Time, parts *tasks, told func(facts, []netip.AddrPort)) finding {
	c.Progress("asking " + t.host + " over HTTP")
	var out finding
	docs := make(chan document, len(t.bases))
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		out.facts = c.find(ctx, t, func(d document) { docs <- d })
	}()
	var also []netip.AddrPort
	var alsoNotes []string
	lookedUp := make(chan struct{})
	go func() {
		defer close(lookedUp)
		also, alsoNotes = c.alsoEndpoints(ctx, addrs)
	}()
	doc, came := head(docs, asked, time.Until(start.Add(headStart)))
	<-lookedUp
	p := plan{mapping: c.Trials, filtering: filterSockets, spare: reserveSockets, token: doc.token}
	eps, notes := c.stunEndpoints(ctx, t, facts{doc: doc}, addrs)
	own4, own6 := only(eps, netip.Addr.Is4), only(eps, netip.Addr.Is6)
	own6, p.nat64 = c.beyondNAT64(ctx, own4, own6)
	late := [2]chan news{}
	if !came {
		p.until = start.Add(hopeFor)
		late = [2]chan news{make(chan news, 1), make(chan news, 1)}
	}
	var families sync.WaitGroup // the parts may be more by the time these end
	begin := func(o *observation, name, network string, p plan, change string, late <-chan news) {
		families.Add(1)
		parts.do(name, func() string {
			defer families.Done()
			*o = c.examine(ctx, network, p, change, late)
			return o.found()
		})
	}
	p.own, p.also = own4, only(also, netip.Addr.Is4)
	begin(&out.v4, "IPv4", "udp4", p, doc.change, late[0])
	p.own, p.also = own6, only(also, netip.Addr.Is6)
	begin(&out.v6, "IPv6", "udp6", p, doc.change, late[1])
	if !came {
		var d document
		if d, came = head(docs, asked, limit); came {
			eps, notes = c.stunEndpoints(ctx, t, facts{doc: d}, addrs)
			doc = d
		}
		late[0] <- news{d, only(eps, netip.Addr.Is4)}
		late[1] <- news{d, c.listed6(own6, eps)}
	}
	<-asked
	told(out.facts, eps)
	families.Wait()
	c.secondTry(ctx, &out, p, doc, eps)
	out.eps, out.also, out.notes = slices.Concat(eps, also), also, slices.Concat(notes, alsoNotes)
	return out
}

// listed6 keeps what a machine behind a NAT64 asks, for the document has no
// such addresses.
func (c *Config) listed6(own6, eps []netip.AddrPort) []netip.AddrPort {
	if listed := only(eps, netip.Addr.Is6); len(listed) > 0 {
		return listed
	}
	return own6
}

// secondTry asks the endpoints of a document that came after the test had
// ended without an answer from the usual ports.
func (c *Config) secondTry(ctx context.Context, out *finding, p plan, doc document, eps []netip.AddrPort) {
	if out.v4.answers()+out.v6.answers() > 0 {
		return
	}
	for _, f := range []struct {
		o       *observation
		network string
		own     []netip.AddrPort
	}{{&out.v4, "udp4", only(eps, netip.Addr.Is4)}, {&out.v6, "udp6", only(eps, netip.Addr.Is6)}} {
		if len(f.own) == 0 || f.o.why != "" || !slices.ContainsFunc(f.own, func(ep netip.AddrPort) bool { return !slices.Contains(f.o.endpoints(), ep) }) {
			continue
		}
		p.own, p.token, p.until = f.own, doc.token, time.Time{}
		*f.o = c.examine(ctx, f.network, p, doc.change, nil)
	}
}

// head returns the first document, if one comes in time.
func head(docs <-chan document, asked <-chan struct{}, wait time.Duration) (document, bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case d := <-docs:
		return d, true
	case <-timer.C:
	case <-asked:
		select {
		case d := <-docs:
			return d, true
		default:
		}
	}
	return document{}, false
}
