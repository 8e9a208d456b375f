package turnsrv

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

func TestKick(t *testing.T) {
	f := start(t, nil)
	a, b, c := f.wire(t, "udp").challenge(), f.wire(t, "tcp").challenge(), f.wire(t, "udp").challenge()
	c.username, c.password, _ = f.secrets.Issue("another", time.Now().Add(time.Hour))
	a.allocate()
	b.allocate()
	c.allocate()
	if got := code(c.call(stun.MethodCreatePermission, public)); got != 0 {
		t.Fatalf("got %d", got)
	}
	var id uint64
	for _, s := range f.Sessions() {
		if s.Label == "another" {
			id = s.ID
			if len(s.Peers) != 1 || s.Peers[0].String() != "8.8.8.8" {
				t.Errorf("got peers %v, want 8.8.8.8", s.Peers)
			}
		}
	}
	if f.End(id+1000) || f.EndUser("nobody") != 0 {
		t.Error("a session that is not there was ended")
	}
	if got := f.EndUser("tester"); got != 2 {
		t.Errorf("got %d sessions of the user, want 2", got)
	}
	f.await(t, 1)
	if got := code(a.call(stun.MethodRefresh)); got != 437 {
		t.Errorf("Refresh of a session that was ended: got %d, want 437", got)
	}
	if !f.End(id) {
		t.Error("no session with the id that is listed")
	}
	f.await(t, 0)
	if got := f.Stats(); got.Ended[EndKicked] != 3 || got.Started != 3 || got.Refused[437] != 1 {
		t.Errorf("got %+v, want 3 kicked, 3 started, one 437", got)
	}
}

// await waits until n sessions are live.
func (f *fixture) await(t testing.TB, n int) {
	t.Helper()
	for start := time.Now(); f.Stats().Sessions != n; runtime.Gosched() {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("got %d sessions, want %d", f.Stats().Sessions, n)
		}
	}
}

func TestStatsCountLiveAndEndedSessions(t *testing.T) {
	f := start(t, allowLoopback)
	peer := echo(t)
	for i := range 3 {
		w := f.wire(t, "tcp").challenge()
		w.allocate()
		if got := code(w.call(stun.MethodChannelBind, channel(0x4000), peerAttr(peer.LocalAddr().String()))); got != 0 {
			t.Fatalf("got %d", got)
		}
		w.send([]byte{0x40, 0, 0, 4, 1, 2, 3, 4})
		if _, err := w.frame(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			w.Close()
		}
	}
	f.await(t, 2)
	got := f.Stats()
	if want := (Traffic{3, 12}); got.FromPeers != want || got.ToPeers != want {
		t.Errorf("got %+v from and %+v to peers, want %+v", got.FromPeers, got.ToPeers, want)
	}
	if got.Connections != 2 || got.FreePortsIPv4 != 398 || got.Ended[EndGone] != 1 {
		t.Errorf("got %+v, want 2 connections, 398 free ports, one client gone", got)
	}
}

func TestStaticUsers(t *testing.T) {
	f := start(t, func(c *Config) { c.Users = map[string]string{"robot": "correct horse"} })
	for password, want := range map[string]stun.ErrorCode{"correct horse": 0, "": 401, "wrong": 401} {
		w := f.wire(t, "udp").challenge()
		w.username, w.password = "robot", password
		if got := code(w.call(stun.MethodAllocate, udpTransport)); got != want {
			t.Errorf("password %q: got %d, want %d", password, got, want)
		}
	}
}

func TestSecretsAreReplacedWithoutEndingACall(t *testing.T) {
	f := start(t, nil)
	w := f.wire(t, "udp").challenge()
	w.allocate()
	f.SetSecrets(newSecrets(t, "another-another-another", "north-north-north"))
	if got := code(w.call(stun.MethodRefresh)); got != 0 {
		t.Errorf("a refresh under the older secret: got %d, want success", got)
	}
	f.SetSecrets(newSecrets(t, "another-another-another"))
	if got := code(w.call(stun.MethodRefresh)); got != 0 {
		t.Errorf("a refresh under a secret that is gone: got %d, want success", got)
	}
	w.password = "wrong"
	if got := code(w.call(stun.MethodRefresh)); got != 401 {
		t.Errorf("a refresh with a wrong password: got %d, want 401", got)
	}
	if got := code(f.wire(t, "udp").challenge().call(stun.MethodAllocate, udpTransport)); got != 401 {
		t.Errorf("a new Allocate under a secret that is gone: got %d, want 401", got)
	}
}

func TestAlternateServerWhileDraining(t *testing.T) {
	alternate := netip.MustParseAddrPort("198.41.0.9:3478")
	f := start(t, func(c *Config) { c.Alternate = alternate })
	f.draining.Store(true)
	m := f.wire(t, "udp").challenge().call(stun.MethodAllocate, udpTransport)
	var got stun.AlternateServer
	if err := got.GetFrom(m); err != nil || code(m) != 300 || got.Port != 3478 || got.IP.String() != "198.41.0.9" {
		t.Errorf("got %d %v %v, want 300 and %v", code(m), got, err, alternate)
	}
}
