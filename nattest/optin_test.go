package nattest

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/vnet"

	"turnkey/stunsrv"
)

// rfc5780 is a lab whose server has two addresses.
func rfc5780(nat *vnet.NATType) *lab {
	return &lab{nat: nat, addrs: []string{serverA, serverB}}
}

func TestOptInTestsAreNotRunUnasked(t *testing.T) {
	l := rfc5780(&vnet.NATType{})
	l.run(t, func(t *testing.T, c Config) {
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range []string{r.V4.Hairpin.State, r.V4.Lifetime.State, r.V4.Fragments.State, r.V4.ALG.State} {
			if state != NotTested {
				t.Errorf("got %s, want %s", state, NotTested)
			}
		}
	})
}

func TestOptInTestsSayWhyNot(t *testing.T) {
	honest := func(pc net.PacketConn, from net.Addr, req *stun.Message) {
		pc.WriteTo(binding(req.TransactionID, from).Raw, from)
	}
	refusing := func(pc net.PacketConn, from net.Addr, req *stun.Message) {
		var site stunsrv.Site // one address, no token
		site[0] = addrPort(pc.LocalAddr())
		pc.WriteTo(stunsrv.Respond(nil, req.Raw, addrPort(from), &site, nil).Message, from)
	}
	for name, tt := range map[string]struct {
		lab
		lifetime, fragments, hairpin string // parts of the reasons
	}{
		"no NAT":      {lab{answer: honest, noHTTP: true}, "did not arrive even at once", "no long answers", "there is no NAT"},
		"one address": {lab{answer: refusing, noHTTP: true, nat: &vnet.NATType{}}, "RESPONSE-PORT: error 420", "no long answers", ""},
		"blocked":     {lab{filter: func(vnet.Chunk) bool { return false }, noTCP: true}, "answers nothing", "answers nothing", "answers nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.lab.run(t, func(t *testing.T, c Config) {
				c.Lifetime, c.Fragments, c.Hairpin = 10*time.Second, true, true
				r, err := Run(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				for what, want := range map[[2]string]string{
					{r.V4.Lifetime.State, r.V4.Lifetime.Why}: tt.lifetime, {r.V4.Fragments.State, r.V4.Fragments.Why}: tt.fragments,
					{r.V4.Hairpin.State, r.V4.Hairpin.Why}: tt.hairpin,
				} {
					if want != "" && (!strings.Contains(what[1], want) || what[0] != NotTested && what[0] != Unknown) {
						t.Errorf("got %q, want it not tested or unknown, for %q", what, want)
					}
				}
			})
		})
	}
}

func TestOnlyItsOwnAnswersCount(t *testing.T) {
	request := requests()
	honest := answeredAt(packet{raw: request.Raw}, outer)
	other := stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw
	for name, tt := range map[string]struct {
		raw  []byte
		from netip.AddrPort
		peer bool
		want bool
	}{
		"the answer":                      {honest, ep1, false, true},
		"another port's":                  {honest, ep2, false, false},
		"another transaction's":           {other, ep1, false, false},
		"the request itself":              {request.Raw, ep1, false, false},
		"noise":                           {[]byte("noise"), ep1, false, false},
		"from a peer, the request":        {request.Raw, outer, true, true},
		"from a peer, what is no request": {honest, outer, true, false},
	} {
		var a asks
		k := a.add(request, 0, ep1, began, 0)
		k.peer = tt.peer
		if got, _ := a.hear(tt.raw, tt.from, 0, began); got != nil {
			t.Errorf("%s: heard before anything was sent", name)
		}
		a.next(began)
		if got, _ := a.hear(tt.raw, tt.from, 0, began); (got != nil) != tt.want || len(k.heard) > 0 != tt.want {
			t.Errorf("%s: got it heard %t, want %t", name, got != nil, tt.want)
		}
	}
}

// requests builds Binding requests without a token.
func requests(set ...stun.Setter) *stun.Message {
	return stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, set...)...)
}

// perform runs a machine on a fake clock. path is what becomes of each packet: the
// datagrams that come in, at which socket and from where, a millisecond later.
func perform(t *testing.T, m machine, path func(k packet, now time.Time) []arrival) time.Duration {
	t.Helper()
	now := began
	for range 10000 {
		out, wake, over := m.next(now)
		for _, k := range out {
			for _, a := range path(k, now) {
				m.receive(a.raw, a.from, a.socket, now.Add(time.Millisecond))
			}
		}
		if len(out) > 0 {
			continue // what came in may have made more due
		}
		if over {
			return now.Sub(began)
		}
		if !wake.After(now) {
			t.Fatalf("got wake %s at %s, want a later one", wake, now)
		}
		now = wake
	}
	t.Fatal("the machine does not end")
	return 0
}

// answered is what a server with two addresses answers to a packet that reaches
// it from mapped.
func answeredAt(k packet, mapped netip.AddrPort) []byte {
	site := stunsrv.Site{ep1, ep2, netip.MustParseAddrPort("203.0.113.11:3478"), netip.MustParseAddrPort("203.0.113.11:3479")}
	return stunsrv.Respond(nil, k.raw, mapped, &site, nil).Message
}

// whoAnswers is an HTTP client's way to a server, in a test.
type whoAnswers func(*http.Request) (*http.Response, error)

func (w whoAnswers) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }
