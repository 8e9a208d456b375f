package turnsrv

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPortsAreUsedUpBeforeAnyFails(t *testing.T) {
	p := newPorts(PortRange{50000, 50099})
	seen := make(map[uint16]bool)
	for i := range 100 {
		port, err := p.take()
		if err != nil || seen[port] || port < 50000 || port > 50099 {
			t.Fatalf("take %d: got %d %v (seen before: %v)", i, port, err, seen[port])
		}
		seen[port] = true
	}
	if _, err := p.take(); !errors.Is(err, errNoPort) {
		t.Errorf("got %v, want errNoPort", err)
	}
	p.release(50042)
	if port, err := p.take(); port != 50042 || err != nil {
		t.Errorf("got %d %v, want 50042 back", port, err)
	}
}

func TestReleasedPortsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(PortRange{50000, 50009})
		first, err := p.take()
		if err != nil {
			t.Fatal(err)
		}
		p.release(first)
		for range 9 {
			port, err := p.take()
			if err != nil || port == first {
				t.Fatalf("got %d %v, want another port than the one just released", port, err)
			}
		}
		if port, err := p.take(); port != first || err != nil {
			t.Errorf("none has rested: got %d %v, want the longest-rested %d", port, err, first)
		}
		other := uint16(50000)
		if first == other {
			other++
		}
		p.release(first)
		p.release(other)
		time.Sleep(portRest)
		got := map[uint16]bool{}
		for range 2 {
			port, err := p.take()
			if err != nil {
				t.Fatal(err)
			}
			got[port] = true
		}
		if len(got) != 2 {
			t.Errorf("got %v, want both rested ports", got)
		}
	})
}

func TestPortsAreRandom(t *testing.T) {
	order := map[uint16]bool{}
	for range 20 {
		port, err := newPorts(PortRange{50000, 59999}).take()
		if err != nil {
			t.Fatal(err)
		}
		order[port] = true
	}
	if len(order) < 10 {
		t.Errorf("20 new lists begin with %d different ports only", len(order))
	}
}

func TestTakeAWantedPort(t *testing.T) {
	p := newPorts(PortRange{50000, 50003})
	if err := p.takeThis(50002); err != nil {
		t.Errorf("got %v, want 50002", err)
	}
	for _, taken := range []uint16{50002, 49999} {
		if err := p.takeThis(taken); !errors.Is(err, errNoPort) {
			t.Errorf("%d: got %v, want errNoPort", taken, err)
		}
	}
	if n := p.count(); n != 3 {
		t.Errorf("got %d free, want 3", n)
	}
}

func TestTakeEven(t *testing.T) {
	p := newPorts(PortRange{50000, 50005})
	if err := p.takeThis(50001); err != nil {
		t.Fatal(err)
	}
	pairs := map[uint16]bool{}
	for range 2 {
		port, err := p.takeEven(true)
		if err != nil {
			t.Fatal(err)
		}
		pairs[port] = true
	}
	if !pairs[50002] || !pairs[50004] {
		t.Errorf("got %v, want 50002 and 50004, whose neighbours are free", pairs)
	}
	if _, err := p.takeEven(true); !errors.Is(err, errNoPort) {
		t.Errorf("a third pair: got %v, want errNoPort", err)
	}
	if port, err := p.takeEven(false); port != 50000 || err != nil {
		t.Errorf("got %d %v, want 50000", port, err)
	}
}
