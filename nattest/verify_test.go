package nattest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4/vnet"
)

// What the loop from a socket says, and what it does not say.
func TestRunTestsRelaysFromOutside(t *testing.T) {
	answers := map[string]int{} // Binding answers by where they go
	for name, tt := range map[string]struct {
		filter           func(vnet.Chunk) bool
		onServer         bool
		state, why, hint string // of the loop of each URL that works
		turn             string // part of turn.why
	}{
		"open": {state: "ok"},
		"closed": {filter: func(c vnet.Chunk) bool { return !relayRange(c) }, state: "failed", why: "does not arrive",
			hint: "open UDP 49160-49359 (TURNKEY_RELAY_PORTS)", turn: "only between two relays of this server"},
		"closed on the way out": {filter: func(c vnet.Chunk) bool {
			from := c.SourceAddr().(*net.UDPAddr)
			return from.IP.String() != serverA || from.Port < 49160 || strings.HasPrefix(c.DestinationAddr().String(), serverA+":")
		}, state: "failed", why: "none comes back", hint: "not out", turn: "only between two relays"},
		"UDP blocked": {filter: func(c vnet.Chunk) bool {
			return strings.HasPrefix(c.SourceAddr().String(), serverA+":") && strings.HasPrefix(c.DestinationAddr().String(), serverA+":")
		}, state: "not_tested", why: "nothing comes back over UDP"},
		// STUN is heard well enough to begin, and not to conclude anything.
		"closed, and much is lost": {filter: func(c vnet.Chunk) bool {
			m, isSTUN := decode(c.UserData())
			if relayRange(c) || !isSTUN || m.Type != stun.BindingSuccess {
				return !relayRange(c)
			}
			to := c.DestinationAddr().String()
			answers[to]++
			return answers[to]%3 == 1
		}, state: "not_tested", why: "too many packets get lost"},
		"on the server": {onServer: true, state: "not_tested", why: "own machine"},
	} {
		t.Run(name, func(t *testing.T) {
			clear(answers)
			l := lab{nat: &vnet.NATType{FilteringBehavior: vnet.EndpointAddrPortDependent}, filter: tt.filter, onServer: tt.onServer}
			l.run(t, func(t *testing.T, c Config) {
				r, err := Run(context.Background(), c)
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range r.TURN.URLs {
					if u.State != "ok" {
						continue
					}
					if u.Loops.RelayToRelay.State != "ok" {
						t.Errorf("%s: got relay to relay %+v, want ok", u.URL, u.Loops.RelayToRelay)
					}
					if l := u.Loops.SocketToRelay; l.State != tt.state || !strings.Contains(l.Why, tt.why) || !strings.Contains(l.Hint, tt.hint) {
						t.Errorf("%s: got %+v, want %s, %q and %q", u.URL, l, tt.state, tt.why, tt.hint)
					}
				}
				if r.TURN.State != "ok" || !strings.Contains(r.TURN.Why, tt.turn) || tt.turn == "" && r.TURN.Why != "" {
					t.Errorf("got TURN %s: %q, want ok with %q", r.TURN.State, r.TURN.Why, tt.turn)
				}
			})
		})
	}
}

// What the end of the whole test cuts short is not said to fail.
func TestVerificationCutShortIsNoFailure(t *testing.T) {
	l := lab{nat: &vnet.NATType{}, filter: func(c vnet.Chunk) bool {
		m, ok := decode(c.UserData())
		return !ok || m.Type.Method != stun.MethodAllocate
	}}
	l.run(t, func(t *testing.T, c Config) {
		target, err := c.prepare(t.Context())
		ok(err)
		f := c.discover(t.Context(), target)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		urls := c.verifyTURN(ctx, f, survey{addresses: 1})
		if took := time.Since(start); took > time.Second+2*releaseWait {
			t.Errorf("took %s, want a second", took)
		}
		if u := urls[0]; u.State != "not_tested" || u.Failed != "challenge" || u.fault != nil {
			t.Errorf("got %+v, want it not tested", u)
		}
		if u := urls[1]; u.State != "ok" {
			t.Errorf("got %+v over TCP, want ok", u)
		}
	})
}

func TestSilenceOfSeveralAddressesIsDoubted(t *testing.T) {
	a, b := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
	six := netip.MustParseAddr("2001:db8::1")
	for name, tt := range map[string]struct {
		l    LoopReport
		seen []netip.Addr
		want string
	}{
		"one address":       {LoopReport{State: "failed", mapped: a}, []netip.Addr{a, a, six}, "failed"},
		"two":               {LoopReport{State: "failed", mapped: a}, []netip.Addr{a, b}, "not_tested"},
		"two, but it began": {LoopReport{State: "failed", mapped: a, oneWay: true}, []netip.Addr{a, b}, "failed"},
		"two, and it works": {LoopReport{State: "ok"}, []netip.Addr{a, b}, "ok"},
	} {
		if tt.l.doubt(tt.seen); tt.l.State != tt.want {
			t.Errorf("%s: got %s, want %s", name, tt.l.State, tt.want)
		}
	}
}

func TestBestOfSeveralAddresses(t *testing.T) {
	u := func(host, state string) URLReport {
		return URLReport{State: state, Failed: "challenge", Reason: "no answer", test: turnURL{URI: stun.URI{Host: host}}, Address: netip.MustParseAddrPort("[2001:db8::1]:3478")}
	}
	got := best([]URLReport{u("a", "ok"), u("a", "failed"), u("b", "not_tested"), u("b", "failed"), u("c", "failed"), u("c", "ok"), u("d", "not_tested")})
	var states []string
	for _, u := range got {
		states = append(states, u.State)
	}
	if want := []string{"ok", "failed", "ok", "not_tested"}; !slices.Equal(states, want) {
		t.Errorf("got %v, want %v", states, want)
	}
	if len(got[0].Notes) != 1 || !strings.Contains(got[0].Notes[0], "[2001:db8::1]:3478 it fails at challenge") || len(got[1].Notes) != 0 {
		t.Errorf("got the notes %q and %q, want one of the address that fails beside one that works", got[0].Notes, got[1].Notes)
	}
}

func TestQuality(t *testing.T) {
	begin := time.Now()
	at := func(sent, got time.Duration) arrived { return arrived{begin.Add(sent), begin.Add(got)} }
	var m Measured
	m.quality([]arrived{at(0, 10*time.Millisecond), at(20, 20+26*time.Millisecond), {sent: begin}, at(40, 40+10*time.Millisecond)}, 4)
	if m.Sent != 4 || m.Received != 3 || m.Loss != 0.25 || m.P50MS != 10 || m.P95MS != 26 || m.JitterMS != 1.9 {
		t.Errorf("got %+v, want 3 of 4, 25 %% lost, 10 and 26 ms, 1.9 ms of jitter (1, then 1 + 15/16)", m)
	}
	m = Measured{}
	if m.quality(nil, 0); m.Sent != 0 || m.Loss != 0 || m.P50MS != 0 {
		t.Errorf("got %+v of nothing", m)
	}
}

func TestJudge(t *testing.T) {
	fine := Measured{Sent: 50, Received: 50, OfferedBPS: 2e6, ThroughputBPS: 2e6, Datagrams: []Datagram{{1200, "ok"}, {1400, "ok"}, {1472, "ok"}}}
	with := func(change func(*Measured)) *Measured {
		m := fine
		m.Datagrams = slices.Clone(m.Datagrams)
		change(&m)
		return &m
	}
	slow := with(func(m *Measured) { m.ThroughputBPS = 500_000 })
	for name, tt := range map[string]struct {
		m         *Measured
		w         ways
		stream    bool
		state, in string
	}{
		"fine":                   {m: &fine, state: "ok"},
		"nothing measured":       {m: &Measured{}, state: "ok"},
		"one packet lost":        {m: with(func(m *Measured) { m.Loss = 0.02 }), state: "ok"},
		"some lost":              {m: with(func(m *Measured) { m.Loss = 0.06 }), state: "warning", in: "6 % of 50 packets"},
		"many lost":              {m: with(func(m *Measured) { m.Loss = 0.3 }), state: "failed", in: "30 % of 50 packets got lost"},
		"late over TCP":          {m: with(func(m *Measured) { m.Loss = 0.3 }), stream: true, state: "warning", in: "came late"},
		"1200 vanish":            {m: with(func(m *Measured) { m.Datagrams[0].State, m.Datagrams[1].State = "failed", "failed" }), state: "failed", in: "1280 bytes"},
		"1400 vanish":            {m: with(func(m *Measured) { m.Datagrams[1].State = "failed" }), state: "warning", in: "black hole"},
		"1400 refused in words":  {m: with(func(m *Measured) { m.Datagrams[1].State = "too_long" }), state: "ok"},
		"1472 vanish":            {m: with(func(m *Measured) { m.Datagrams[2].State = "failed" }), state: "ok"},
		"slow":                   {m: slow, state: "warning", in: "of 2.0 Mbit/s sent, 0.5 arrive; the server limits it (TURNKEY_BANDWIDTH_PER_ALLOCATION"},
		"slow TCP, loss beside":  {m: slow, w: ways{loses: true}, stream: true, state: "warning", in: "packets get lost"},
		"slow TCP, MTU beside":   {m: slow, w: ways{swallows: true}, stream: true, state: "warning", in: "long segments"},
		"slow UDP, loss beside":  {m: slow, w: ways{loses: true}, state: "warning", in: "TURNKEY_BANDWIDTH"},
		"as good as can be said": {m: with(func(m *Measured) { m.ThroughputBPS = 1_700_000 }), state: "ok"},
	} {
		state, reason, hint := tt.w.judge(tt.m, !tt.stream)
		if state != tt.state || !strings.Contains(reason+"; "+hint, tt.in) || (state == "ok") != (reason == "" && hint == "") {
			t.Errorf("%s: got %s, %q, %q; want %s with %q", name, state, reason, hint, tt.state, tt.in)
		}
	}
}

func TestExamineCertificates(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	type made struct {
		cert *x509.Certificate
		key  *ecdsa.PrivateKey
	}
	make := func(parent *made, ca bool, name string, from, to time.Duration) *made {
		m := &made{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
		m.cert = &x509.Certificate{
			SerialNumber: big.NewInt(now.UnixNano() + int64(to)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			NotBefore: now.Add(from), NotAfter: now.Add(to), IsCA: ca, BasicConstraintsValid: true,
		}
		if parent == nil {
			parent = m
		}
		m.cert = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, m.cert, parent.cert, &m.key.PublicKey, parent.key))))
		return m
	}
	root := make(nil, true, "Root", -100*day, 100*day)
	middle := make(root, true, "Middle", -100*day, 50*day)
	stale := make(root, true, "Stale", -100*day, -day)
	leaf := func(parent *made, from, to time.Duration) *x509.Certificate {
		return make(parent, false, "turn.test", from, to).cert
	}
	good := leaf(middle, -day, 30*day)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	for name, tt := range map[string]struct {
		chain     []*x509.Certificate
		host      string
		roots     *x509.CertPool
		state, in string
	}{
		"good":            {[]*x509.Certificate{good, middle.cert}, "turn.test", roots, "ok", "30 days left"},
		"good, from root": {[]*x509.Certificate{leaf(root, -day, 14*day)}, "turn.test", roots, "ok", "14 days left"},
		"ends soon":       {[]*x509.Certificate{leaf(middle, -day, 14*day-time.Second), middle.cert}, "turn.test", roots, "warning", "13 days left, until 2026-05-14"},
		"ended":           {[]*x509.Certificate{leaf(middle, -9*day, -3*day), middle.cert}, "turn.test", roots, "failed", "it expired 3 days ago, on 2026-04-28; renew it"},
		"not yet":         {[]*x509.Certificate{leaf(middle, day, 9*day), middle.cert}, "turn.test", roots, "failed", "it is not valid before 2026-05-02T00:00:00Z; check the clocks"},
		"another name":    {[]*x509.Certificate{good, middle.cert}, "call.test", roots, "failed", "it is for turn.test, not for call.test"},
		"incomplete":      {[]*x509.Certificate{good}, "turn.test", roots, "failed", "the certificate of CN=Middle, which signed the last one shown, is missing; serve the full chain"},
		"unknown root":    {[]*x509.Certificate{good, middle.cert, root.cert}, "turn.test", x509.NewCertPool(), "failed", "does not trust its authority, CN=Root"},
		"self-signed":     {[]*x509.Certificate{make(nil, false, "turn.test", -day, 30*day).cert}, "turn.test", roots, "failed", "it is self-signed"},
		"chain ended":     {[]*x509.Certificate{leaf(stale, -day, 30*day), stale.cert}, "turn.test", roots, "failed", "its chain is not valid"},
		"all at once":     {[]*x509.Certificate{leaf(middle, -9*day, -3*day)}, "call.test", roots, "failed", "it expired 3 days ago, on 2026-04-28; it is for turn.test, not for call.test; the chain is incomplete"},
	} {
		it := examine(tt.chain, tt.host, tt.roots, now)
		if got := strings.Join([]string{it.Detail, it.Reason, it.Hint}, "; "); it.State != tt.state || !strings.Contains(got, tt.in) {
			t.Errorf("%s: got %s, %q; want %s with %q", name, it.State, got, tt.state, tt.in)
		}
	}
}

func TestCredentialAndClock(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for name, tt := range map[string]struct {
		user      string
		skew      time.Duration
		cred, clk string
	}{
		"good":                   {"1700040000:x", 0, "ok", "ok"},
		"clocks nearly agree":    {"1700040000:x", 29 * time.Second, "ok", "ok"},
		"short":                  {"1700000200:x", 0, "warning", "ok"},
		"past":                   {"1699999999:x", 0, "failed", "ok"},
		"past here, good there":  {"1699999999:x", -time.Hour, "ok", "warning"},
		"good here, past there":  {"1700001800:x", time.Hour, "failed", "warning"},
		"a user without a clock": {"alice", 0, "not_tested", "ok"},
	} {
		f := facts{base: "http://x", date: now, skew: tt.skew, urls: []turnURL{{username: tt.user}}}
		if c, k := f.checkCredential(now)[0], f.checkClock()[0]; c.State != tt.cred || k.State != tt.clk {
			t.Errorf("%s: got credential %s, clock %s; want %s, %s", name, c.State, k.State, tt.cred, tt.clk)
		}
	}
}

func TestHintUpgrade(t *testing.T) {
	for status, want := range map[int]string{0: "cuts WebSockets off", 101: "cuts WebSockets off", 200: "Upgrade and Connection", 404: "under /v1/", 426: "saw no upgrade", 429: "TURNKEY_PEERS_PER_IP", 503: "TURNKEY_ROOMS_MAX"} {
		if reason, hint := hintUpgrade(status, errors.New("x")); !strings.Contains(reason+"; "+hint, want) {
			t.Errorf("%d: got %q, %q; want %q", status, reason, hint, want)
		}
	}
}
