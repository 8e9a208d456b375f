package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"turnkey/signal/doctor"
	"turnkey/turnsrv"
)

// clinic is a call doctor that knows of two peers, and what it logs.
func clinic() (*callDoctor, *buffer) {
	var log buffer
	d := &callDoctor{book: doctor.NewBook(16), examine: func(...*doctor.Peer) {}, serving: func() bool { return true }, log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, id := range []string{"p_a", "p_b"} {
		d.see(doctor.Event{What: doctor.Joined, Room: "demo", Peer: id})
	}
	return d, &log
}

func between(what doctor.What, from, to, state string) doctor.Event {
	return doctor.Event{What: what, Room: "demo", Peer: from, To: to, Report: doctor.Report{State: state}}
}

func TestPairThatDoesNotConnectHasItsLine(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []doctor.Event
		after  time.Duration // when the line has come
		want   string        // in it; "" = there is none
	}{
		{"never answered", []doctor.Event{between(doctor.Offered, "p_b", "p_a", ""), between(doctor.Offered, "p_b", "p_a", "")}, patience, "[no_answer candidates_missing]"},
		{"failed", []doctor.Event{between(doctor.Offered, "p_b", "p_a", ""), between(doctor.Answered, "p_a", "p_b", ""),
			between(doctor.Reported, "p_a", "p_b", "failed"), between(doctor.Reported, "p_b", "p_a", "failed")}, 0, "checks_failed"},
		{"connecting", []doctor.Event{between(doctor.Offered, "p_b", "p_a", ""), between(doctor.Answered, "p_a", "p_b", ""),
			between(doctor.Reported, "p_b", "p_a", "connecting")}, patience, "stage=checking"},
		{"connected", []doctor.Event{between(doctor.Offered, "p_b", "p_a", ""), between(doctor.Answered, "p_a", "p_b", ""),
			between(doctor.Reported, "p_b", "p_a", "connecting"), between(doctor.Reported, "p_b", "p_a", "connected")}, 0, ""},
		{"nobody reports", []doctor.Event{between(doctor.Offered, "p_b", "p_a", ""), between(doctor.Answered, "p_a", "p_b", "")}, 0, ""},
		{"left", []doctor.Event{between(doctor.Offered, "p_b", "p_a", ""), {What: doctor.Left, Room: "demo", Peer: "p_a"}}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, log := clinic()
				for _, e := range tt.events {
					d.see(e)
				}
				time.Sleep(tt.after - time.Millisecond)
				synctest.Wait()
				if got := log.String(); tt.after > 0 && got != "" {
					t.Errorf("too early: %s", got)
				}
				time.Sleep(time.Millisecond)
				synctest.Wait()
				got := log.String()
				if tt.want != "" && (!strings.Contains(got, tt.want) || !strings.Contains(got, "room=demo")) {
					t.Errorf("got %q, want a line with %s", got, tt.want)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if lines := strings.Count(log.String(), "\n"); lines != min(1, len(tt.want)) {
					t.Errorf("got %d lines, want one at most\n%s", lines, log.String())
				}
			})
		})
	}
}

// Failures that are reported in a flood are looked at by one goroutine, each pair
// once a second, and only so many wait.
func TestFloodOfFailuresIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const peers = 64
		d, _ := clinic()
		d.book = doctor.NewBook(4 * peers * peers)
		var looks, atOnce, most atomic.Int32
		release := make(chan struct{})
		d.examine = func(...*doctor.Peer) {
			looks.Add(1)
			most.Store(max(most.Load(), atOnce.Add(1)))
			<-release
			atOnce.Add(-1)
		}
		d.serving = func() bool { return true }
		name := func(i int) string { return fmt.Sprint("p_", i) }
		for i := range peers {
			d.see(doctor.Event{What: doctor.Joined, Room: "demo", Peer: name(i)})
		}
		before := runtime.NumGoroutine()
		flood := func(n int) { // of reports about each pair
			for range n {
				for i := range peers {
					for j := range peers {
						d.see(between(doctor.Reported, name(i), name(j), "failed"))
					}
				}
			}
			synctest.Wait()
		}
		flood(5)
		if n := runtime.NumGoroutine() - before; n > 1 || len(d.waiting) > maxWaiting {
			t.Errorf("got %d goroutines and %d pairs that wait", n, len(d.waiting))
		}
		close(release)
		synctest.Wait()
		if most.Load() != 1 || looks.Load() != maxWaiting+1 || d.looking {
			t.Errorf("got %d looks, %d at once, looking: %v; want %d, one after the other", looks.Load(), most.Load(), d.looking, maxWaiting+1)
		}
		if flood(1); looks.Load() != maxWaiting+1 {
			t.Errorf("within a second: got %d looks more", looks.Load()-maxWaiting-1)
		}
		time.Sleep(time.Second)
		if flood(1); looks.Load() != peers*(peers-1)/2 {
			t.Errorf("a second later: got %d looks, want one for each pair that was left out", looks.Load())
		}
	})
}

func TestAddressesAreForTheKey(t *testing.T) {
	d, _ := clinic()
	peer, client := netip.MustParseAddr("198.51.100.77"), netip.MustParseAddrPort("192.0.2.44:1000")
	d.see(doctor.Event{What: doctor.Back, Room: "demo", Peer: "p_a", Address: client.Addr()})
	d.allocated(turnsrv.Session{Label: "p_a", Created: time.Now(), Transport: "udp", Client: client, Relay: netip.MustParseAddrPort("203.0.113.5:50000")})
	d.refused(turnsrv.Refused{Label: "p_a", Transport: "udp", Method: "CreatePermission", Code: 403, Denied: peer, Rule: "DENY_PEERS", Reason: "peer 198.51.100.77 is denied"})
	d.examine = func(list ...*doctor.Peer) {
		list[0].Sessions = []doctor.Session{{Transport: "udp", Relay: netip.MustParseAddrPort("203.0.113.5:50000")}}
	}
	for _, key := range []bool{true, false} {
		peers, pairs := d.book.Room("demo", time.Now())
		text := string(toJSON(t, d.chart("demo", peers, pairs, key, time.Now())))
		for _, address := range []string{"192.0.2.44", "203.0.113.5:50000", "198.51.100.77"} {
			if strings.Contains(text, address) != key {
				t.Errorf("with the key %v: got %s", key, text)
			}
		}
		if !strings.Contains(text, `"reason":"peer denied by DENY_PEERS"`) || !strings.Contains(text, `"code":"no_offer"`) {
			t.Errorf("got %s", text)
		}
	}
}

func toJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
