package nattest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v3"
)

// scripted is a link to a server that a function plays.
type scripted struct {
	serve func(req *stun.Message) []*stun.Message
	queue [][]byte
}

func (s *scripted) write(raw []byte) error {
	m, ok := decode(raw)
	if !ok {
		return errors.New("not STUN")
	}
	for _, r := range s.serve(m) {
		s.queue = append(s.queue, r.Raw)
	}
	return nil
}

func (s *scripted) read(deadline time.Time) ([]byte, error) {
	if len(s.queue) == 0 {
		time.Sleep(time.Until(deadline))
		return nil, context.DeadlineExceeded
	}
	raw := s.queue[0]
	s.queue = s.queue[1:]
	return raw, nil
}

func (s *scripted) lossy() bool  { return true }
func (s *scripted) Close() error { return nil }

func TestAllocate(t *testing.T) {
	relayed := &stun.XORMappedAddress{IP: net.IPv4(203, 0, 113, 10), Port: 49160}
	key := stun.NewLongTermIntegrity("user", "realm", "secret")
	bad := stun.NewLongTermIntegrity("user", "realm", "other")
	type set = []stun.Setter
	challenge := set{stun.CodeUnauthorized, stun.NewRealm("realm"), stun.NewNonce("n1")}
	for name, tt := range map[string]struct {
		replies []set // to the requests in turn; the class follows from an error code
		stage   string
		code    int
	}{
		"challenge, then success": {replies: []set{challenge, {address{relayed}, key}}},
		"stale nonce":             {replies: []set{challenge, {stun.CodeStaleNonce, stun.NewRealm("realm"), stun.NewNonce("n2")}, {address{relayed}, key}}},
		"stale for ever":          {[]set{challenge, {stun.CodeStaleNonce, stun.NewRealm("realm"), stun.NewNonce("n2")}, {stun.CodeStaleNonce, stun.NewRealm("realm"), stun.NewNonce("n3")}}, "allocate", 438},
		"refused":                 {[]set{challenge, challenge}, "allocate", 401},
		"quota":                   {[]set{challenge, {stun.CodeAllocQuotaReached, key}}, "allocate", 486},
		"open relay":              {[]set{{address{relayed}}}, "challenge", 0},
		"no realm":                {[]set{{stun.CodeUnauthorized, stun.NewNonce("n")}}, "challenge", 401},
		"no TURN here":            {[]set{{stun.CodeBadRequest}}, "challenge", 400},
		"forged success":          {[]set{challenge, {address{relayed}, bad}}, "allocate", 0},
		"unsigned success":        {[]set{challenge, {address{relayed}}}, "allocate", 0},
		"no relayed address":      {[]set{challenge, {key}}, "allocate", 0},
		"silence":                 {nil, "challenge", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := map[[12]byte]int{}
				l := &scripted{serve: func(req *stun.Message) []*stun.Message {
					n, again := seen[req.TransactionID]
					if !again {
						n = len(seen)
						seen[req.TransactionID] = n
					}
					if n >= len(tt.replies) {
						return nil
					}
					return []*stun.Message{play(req, tt.replies[n])}
				}}
				a := &allocation{link: l, dialog: dialog{username: "user", password: "secret"}}
				f := a.allocate(context.Background(), func(string) {})
				switch {
				case f == nil && tt.stage != "":
					t.Errorf("got success, want %s to fail", tt.stage)
				case f != nil && (f.stage != tt.stage || f.code != tt.code):
					t.Errorf("got %s failing with %d (%s), want %s with %d", f.stage, f.code, f.reason, tt.stage, tt.code)
				case f == nil && a.relayed.Port() != 49160:
					t.Errorf("got relayed %s", a.relayed)
				}
			})
		})
	}
}

// An allocation whose answer got lost is there all the same, and takes one of
// the user's quota until it is given back.
func TestAllocationOfALostAnswerIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last *stun.Message
		l := &scripted{}
		l.serve = func(req *stun.Message) []*stun.Message {
			if last = req; req.Contains(stun.AttrMessageIntegrity) {
				return nil
			}
			return []*stun.Message{play(req, []stun.Setter{stun.CodeUnauthorized, stun.NewRealm("realm"), stun.NewNonce("n1")})}
		}
		a := &allocation{link: l, dialog: dialog{username: "user", password: "secret"}}
		if f := a.allocate(t.Context(), func(string) {}); f == nil || f.stage != "allocate" {
			t.Fatalf("got %v, want allocate to fail", f)
		}
		a.release(t.Context())
		value, err := last.Get(stun.AttrLifetime)
		if last.Type != stun.NewType(stun.MethodRefresh, stun.ClassRequest) || err != nil || !bytes.Equal(value, make([]byte, 4)) {
			t.Errorf("got %s last, lifetime %v, %v; want a Refresh of 0", last.Type, value, err)
		}
	})
}

// address is XOR-RELAYED-ADDRESS.
type address struct{ *stun.XORMappedAddress }

func (a address) AddTo(m *stun.Message) error { return a.AddToAs(m, stun.AttrXORRelayedAddress) }

func play(req *stun.Message, set []stun.Setter) *stun.Message {
	class := stun.ClassSuccessResponse
	if _, isError := set[0].(stun.ErrorCode); isError {
		class = stun.ClassErrorResponse
	}
	head := []stun.Setter{stun.NewTransactionIDSetter(req.TransactionID), stun.NewType(req.Type.Method, class)}
	return stun.MustBuild(append(head, set...)...)
}

// Only a packet of the test, whole, from the peer that it was sent by, counts.
func TestReceivedFromThePeerAlone(t *testing.T) {
	test, other := newPackets(), newPackets()
	relay, stranger := netip.MustParseAddrPort("203.0.113.10:49160"), netip.MustParseAddrPort("203.0.113.66:49160")
	build := func(class stun.MessageClass, method stun.Method, from netip.AddrPort, b []byte) []byte {
		return stun.MustBuild(stun.TransactionID, stun.NewType(method, class), peer(from), data(b)).Raw
	}
	d := dialog{bound: relay}
	mine := test.packet(3, 100)
	moved := netip.AddrPortFrom(relay.Addr(), 7) // by a NAT
	for name, raw := range map[string][]byte{
		"indication":   build(stun.ClassIndication, stun.MethodData, relay, mine),
		"another port": build(stun.ClassIndication, stun.MethodData, moved, mine),
		"channel":      channelData(mine),
	} {
		if n, ok := d.from(raw, test, 100, relay.Addr()); !ok || n != 3 {
			t.Errorf("%s: got %d, %t; want 3, true", name, n, ok)
		}
	}
	wrongChannel := channelData(mine)
	wrongChannel[1]++
	for name, raw := range map[string][]byte{
		"a stranger":      build(stun.ClassIndication, stun.MethodData, stranger, mine),
		"another test's":  build(stun.ClassIndication, stun.MethodData, relay, other.packet(3, 100)),
		"too short":       build(stun.ClassIndication, stun.MethodData, relay, mine[:99]),
		"too long":        build(stun.ClassIndication, stun.MethodData, relay, append(slices.Clone(mine), 0)),
		"empty":           build(stun.ClassIndication, stun.MethodData, relay, nil),
		"a request":       build(stun.ClassRequest, stun.MethodData, relay, mine),
		"another method":  build(stun.ClassIndication, stun.MethodSend, relay, mine),
		"no peer":         stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodData, stun.ClassIndication), data(mine)).Raw,
		"another channel": wrongChannel,
		"cut channel":     channelData(mine)[:50],
		"bare":            mine,
		"nothing":         nil,
	} {
		if _, ok := d.from(raw, test, 100, relay.Addr()); ok {
			t.Errorf("%s: got it taken for ours", name)
		}
	}
	if _, ok := new(dialog).from(channelData(mine), test, 100, netip.Addr{}); ok {
		t.Error("a channel that is not bound: got it taken for ours")
	}
}

func FuzzReceived(f *testing.F) {
	test := newPackets()
	f.Add(channelData(test.packet(1, 0)))
	f.Add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodData, stun.ClassIndication), data(test.packet(1, 0))).Raw)
	d := dialog{bound: netip.MustParseAddrPort("203.0.113.10:49160")}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, payload, ok := d.received(raw); ok && len(payload) > len(raw) {
			t.Errorf("got %d bytes out of %d", len(payload), len(raw))
		}
	})
}

func TestStreamLink(t *testing.T) {
	mine, theirs := net.Pipe()
	l := &streamLink{Conn: mine}
	defer l.Close()
	one := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewSoftware("first")).Raw
	two := channelData([]byte("three"))
	go func() {
		all := slices.Concat(one, two)
		theirs.Write(all[:7])
		theirs.Write(all[7 : len(one)+2])
		theirs.Write(all[len(one)+2:])
		theirs.Write(one[:10])
	}()
	for i, want := range [][]byte{one, two} {
		if got, err := l.read(time.Now().Add(5 * time.Second)); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("message %d: got %x, %v; want %x", i, got, err, want)
		}
	}
	if _, err := l.read(time.Now().Add(20 * time.Millisecond)); !timedOut(err) {
		t.Errorf("half a message: got %v, want a timeout", err)
	}
	go theirs.Write(one[10:]) // what came before the deadline is kept
	if got, err := l.read(time.Now().Add(5 * time.Second)); err != nil || !bytes.Equal(got, one) {
		t.Errorf("got %x, %v; want %x", got, err, one)
	}
	theirs.Close()
	if _, err := l.read(time.Now().Add(5 * time.Second)); err == nil || plain(err) != "the connection was closed" {
		t.Errorf("got %v, want it to be closed", err)
	}
}

func TestPacketLinkDropsForeignPackets(t *testing.T) {
	listen := func() net.PacketConn { return must(net.ListenPacket("udp4", "127.0.0.1:0")) }
	server, stranger := listen(), listen()
	defer server.Close()
	defer stranger.Close()
	l := &packetLink{PacketConn: listen(), server: addrPort(server.LocalAddr())}
	defer l.Close()
	stranger.WriteTo([]byte("stranger"), l.LocalAddr())
	server.WriteTo([]byte("server"), l.LocalAddr())
	if got, err := l.read(time.Now().Add(5 * time.Second)); err != nil || string(got) != "server" {
		t.Errorf("got %q, %v; want what the server sent", got, err)
	}
	if a := netip.MustParseAddrPort(server.LocalAddr().String()); a != l.server {
		t.Errorf("got %s, want %s", l.server, a)
	}
}
