package nattest

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

var (
	began = time.Unix(1_700_000_000, 0)
	ep1   = netip.MustParseAddrPort("203.0.113.10:3478")
	ep2   = netip.MustParseAddrPort("203.0.113.10:3479")
	outer = netip.MustParseAddrPort("198.51.100.1:7")
)

// answerTo is the honest answer to a packet of the probe.
func answerTo(k packet, mapped netip.AddrPort) []byte {
	m := &stun.Message{Raw: slices.Clone(k.raw)}
	ok(m.Decode())
	return binding(m.TransactionID, net.UDPAddrFromAddrPort(mapped)).Raw
}

func TestProbeSchedule(t *testing.T) {
	p := newProbe(began, plan{mapping: 2, own: []netip.AddrPort{ep1}})
	sent := map[int][]time.Duration{}
	ids := map[string]bool{}
	now, over := began, false
	var out []packet
	for range 100 {
		var wake time.Time
		if out, wake, over = p.next(now); over {
			break
		}
		for _, k := range out {
			sent[k.socket] = append(sent[k.socket], now.Sub(began))
			ids[string(k.raw)] = true
		}
		if !wake.After(now) {
			t.Fatalf("got wake %s at %s, want a later one", wake, now)
		}
		now = wake
	}
	for socket, want := range [][]time.Duration{sendAt[:], {20e6, 120e6, 270e6, 520e6, 920e6}} {
		if !slices.Equal(sent[socket], want) {
			t.Errorf("socket %d: got sends at %v, want %v", socket, sent[socket], want)
		}
	}
	if len(ids) != 2 {
		t.Errorf("got %d different requests, want one a transaction: 2", len(ids))
	}
	if took := now.Sub(began); !over || took != 920*time.Millisecond+lastWait {
		t.Errorf("got over %t after %s, want 1.52s", over, took)
	}
}

func TestProbeEndsWithTheLastAnswer(t *testing.T) {
	p := newProbe(began, plan{mapping: 1, own: []netip.AddrPort{ep1, ep2}})
	out, _, _ := p.next(began)
	for _, k := range out {
		if !p.receive(answerTo(k, outer), k.to, 0, began.Add(30*time.Millisecond)) {
			t.Fatal("got the honest answer refused")
		}
	}
	for now := began.Add(restless); !p.again; now = now.Add(time.Millisecond) {
		out, _, _ := p.next(now)
		for _, k := range out {
			p.receive(answerTo(k, outer), k.to, 0, now)
		}
	}
	if out, _, over := p.next(began.Add(time.Second)); !over || len(out) != 0 {
		t.Errorf("got over %t and %d packets, want over and none", over, len(out))
	}
	if a := p.trials(make([]netip.AddrPort, 1))[0].Answers[0]; a.Mapped != outer || a.RTTMS != 30 || a.Sends != 1 {
		t.Errorf("got %+v, want %s after 30 ms", a, outer)
	}
}

// Which of the five requests gets through does not matter; that the round trip
// is then not known does.
func TestProbeLossPatterns(t *testing.T) {
	for lost := range sendAt {
		p := newProbe(began, plan{mapping: 1, own: []netip.AddrPort{ep1}})
		now, sends := began, 0
		for {
			out, wake, over := p.next(now)
			if over {
				break
			}
			for _, k := range out {
				if sends++; sends > lost {
					p.receive(answerTo(k, outer), k.to, 0, now.Add(time.Millisecond))
				}
			}
			now = wake
		}
		a := p.trials(make([]netip.AddrPort, 1))[0].Answers[0]
		if a.Mapped != outer || a.Sends != lost+1 || (a.RTTMS > 0) != (lost == 0) {
			t.Errorf("%d lost: got %+v", lost, a)
		}
	}
}

func TestProbeLateCallerSendsOnce(t *testing.T) {
	p := newProbe(began, plan{mapping: 1, own: []netip.AddrPort{ep1}})
	if out, _, _ := p.next(began.Add(600 * time.Millisecond)); len(out) != 1 {
		t.Errorf("got %d packets, want 1", len(out))
	}
	if e := p.evidence(make([]netip.AddrPort, 1))[0]; e.Sends != 1 {
		t.Errorf("got %d requests counted, want the one that was sent: the others are no loss", e.Sends)
	}
}

// A document whose endpoints are reached by another way out is of no use to
// sockets that are bound to this one.
func TestProbeKeepsItsEndpoints(t *testing.T) {
	late := make(chan news, 1)
	late <- news{own: []netip.AddrPort{netip.MustParseAddrPort("203.0.113.99:3478")}}
	s := scout{
		probe: newProbe(began, plan{mapping: 1, own: []netip.AddrPort{ep1}}), late: late,
		sameWay: func([]netip.AddrPort) []netip.AddrPort { return nil },
	}
	s.next(began)
	if !slices.Equal(s.own, []netip.AddrPort{ep1}) {
		t.Errorf("got endpoints %v, want %s", s.own, ep1)
	}
}

// A server may claim another address (OTHER-ADDRESS), and have nobody else asked
// for it.
func TestProbeAsksWhatAServerMayHave(t *testing.T) {
	for _, tt := range []struct {
		server, other string
		want          int
	}{
		{"203.0.113.10:3478", "203.0.113.11:3479", 3},
		{"203.0.113.10:3478", "203.0.113.10:3479", 0}, // the same address
		{"203.0.113.10:3478", "10.0.0.2:3479", 0},
		{"10.0.0.1:3478", "10.0.0.2:3479", 3},
		{"10.0.0.1:3478", "224.0.0.251:5353", 0},
		{"10.0.0.1:3478", "255.255.255.255:3479", 0},
		{"[fd00::1]:3478", "[ff02::1]:3479", 0},
	} {
		server, other := netip.MustParseAddrPort(tt.server), netip.MustParseAddrPort(tt.other)
		p := newProbe(began, plan{mapping: 1, own: []netip.AddrPort{server}})
		out, _, _ := p.next(began)
		answer := stun.MustBuild(stun.NewTransactionIDSetter(p.tests[0].id), stun.BindingSuccess,
			&stun.XORMappedAddress{IP: net.IPv4(198, 51, 100, 1), Port: 7}, &stun.OtherAddress{IP: other.Addr().AsSlice(), Port: int(other.Port())})
		if !p.receive(answer.Raw, out[0].to, 0, began) {
			t.Fatalf("%s: got the honest answer refused", tt.server)
		}
		if got := p.claim(); len(got) != tt.want {
			t.Errorf("%s claims %s: got %v asked, want %d", tt.server, tt.other, got, tt.want)
		}
	}
}

func TestProbeRefuses(t *testing.T) {
	other := netip.MustParseAddrPort("203.0.113.99:3478")
	build := func(id [12]byte, set ...stun.Setter) []byte {
		return stun.MustBuild(append([]stun.Setter{stun.NewTransactionIDSetter(id)}, set...)...).Raw
	}
	x := &stun.XORMappedAddress{IP: net.ParseIP("198.51.100.1"), Port: 7}
	for name, tt := range map[string]struct {
		raw    func(id [12]byte) []byte
		from   netip.AddrPort
		socket int
	}{
		"another source":      {func(id [12]byte) []byte { return build(id, stun.BindingSuccess, x) }, other, 0},
		"the other port":      {func(id [12]byte) []byte { return build(id, stun.BindingSuccess, x) }, ep2, 0},
		"another socket":      {func(id [12]byte) []byte { return build(id, stun.BindingSuccess, x) }, ep1, 1},
		"another transaction": {func([12]byte) []byte { return build([12]byte{1}, stun.BindingSuccess, x) }, ep1, 0},
		"a request":           {func(id [12]byte) []byte { return build(id, stun.BindingRequest, x) }, ep1, 0},
		"an error":            {func(id [12]byte) []byte { return build(id, stun.BindingError, x) }, ep1, 0},
		"no address":          {func(id [12]byte) []byte { return build(id, stun.BindingSuccess) }, ep1, 0},
		"port 0":              {func(id [12]byte) []byte { return build(id, stun.BindingSuccess, &stun.XORMappedAddress{IP: x.IP}) }, ep1, 0},
		"a short address": {func(id [12]byte) []byte {
			return build(id, stun.BindingSuccess, stun.RawAttribute{Type: stun.AttrXORMappedAddress, Length: 6, Value: []byte{0, 1, 9, 9, 9, 9}})
		}, ep1, 0},
		"an IPv4 address of 16 bytes": {func(id [12]byte) []byte {
			return build(id, stun.BindingSuccess, stun.RawAttribute{Type: stun.AttrXORMappedAddress, Length: 20, Value: append([]byte{0, 1, 9, 9}, make([]byte, 16)...)})
		}, ep1, 0},
		"noise": {func([12]byte) []byte { return []byte("noise") }, ep1, 0},
	} {
		p := newProbe(began, plan{mapping: 2, own: []netip.AddrPort{ep1}})
		p.next(began.Add(time.Second))
		if p.receive(tt.raw(p.tests[0].id), tt.from, tt.socket, began) || p.tests[0].done {
			t.Errorf("%s: got it taken for an answer", name)
		}
	}
}

func TestStreamFrames(t *testing.T) {
	whole := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewSoftware("x")).Raw
	for cut := range whole {
		if n, err := frame(whole[:cut]); n != 0 || err != nil {
			t.Fatalf("%d of %d bytes: got %d, %v; want 0", cut, len(whole), n, err)
		}
	}
	if n, err := frame(append(slices.Clone(whole), whole...)); n != len(whole) || err != nil {
		t.Errorf("got %d, %v; want %d", n, err, len(whole))
	}
	long := slices.Clone(whole)
	long[2] = 0xff
	for name, b := range map[string][]byte{"HTTP": []byte("HTTP/1.1 400 Bad Request\r\n"), "too long": long} {
		if _, err := frame(b); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("noise"), false)
	f.Add(binding([12]byte{}, net.UDPAddrFromAddrPort(outer)).Raw, true)
	f.Fuzz(func(t *testing.T, raw []byte, patch bool) {
		p := newProbe(began, plan{mapping: 1, own: []netip.AddrPort{ep1}})
		p.next(began)
		if patch && len(raw) >= 20 {
			copy(raw[8:20], p.tests[0].id[:])
		}
		if p.receive(raw, ep1, 0, began) && (!p.tests[0].mapped.IsValid() || p.tests[0].mapped.Port() == 0) {
			t.Errorf("got %s from %x", p.tests[0].mapped, raw)
		}
		d := dialog{username: "u", password: "p"}
		req, err := d.request(stun.MethodBinding)
		if err != nil {
			t.Fatal(err)
		}
		copy(req.TransactionID[:], p.tests[0].id[:])
		d.answer(req, raw)
		d.received(raw)
	})
}

func FuzzFrame(f *testing.F) {
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := frame(b); n > len(b) || n < 0 || err == nil && n == 0 && len(b) >= 4096 {
			t.Errorf("got %d, %v of %d bytes", n, err, len(b))
		}
	})
}

// Random noise between the honest packets changes nothing.
func TestProbeNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	p := newProbe(began, plan{mapping: 1, own: []netip.AddrPort{ep1}})
	out, _, _ := p.next(began)
	good := answerTo(out[0], outer)
	for range 2000 {
		b := slices.Clone(good)
		b[rng.IntN(20)] ^= byte(1 + rng.IntN(255)) // header or transaction id
		if p.receive(b, ep1, 0, began) {
			t.Fatalf("got %x taken for the answer to %x", b, out[0].raw)
		}
	}
	if !p.receive(good, ep1, 0, began) {
		t.Error("got the honest answer refused after noise")
	}
}
