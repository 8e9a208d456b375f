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

func TestDelivered(t *testing.T) {
	payload := newPayload()
	build := func(class stun.MessageClass, b []byte) []byte {
		return stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodData, class), data(b)).Raw
	}
	mine := append(slices.Clone(payload[:15]), 3)
	if n, ok := delivered(build(stun.ClassIndication, mine), payload); !ok || n != 3 {
		t.Errorf("got %d, %t; want 3, true", n, ok)
	}
	for name, raw := range map[string][]byte{
		"another payload": build(stun.ClassIndication, newPayload()),
		"too short":       build(stun.ClassIndication, payload[:8]),
		"empty":           build(stun.ClassIndication, nil),
		"a request":       build(stun.ClassRequest, mine),
	} {
		if _, ok := delivered(raw, payload); ok {
			t.Errorf("%s: got it taken for ours", name)
		}
	}
}

func TestStreamLink(t *testing.T) {
	mine, theirs := net.Pipe()
	l := &streamLink{Conn: mine}
	defer l.Close()
	one := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewSoftware("first")).Raw
	two := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	go func() {
		all := slices.Concat(one, two)
		theirs.Write(all[:7])
		theirs.Write(all[7 : len(one)+3])
		theirs.Write(all[len(one)+3:])
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
