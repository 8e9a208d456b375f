//go:build linux

package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// hold makes n allocations, keeps them, and returns what each costs in kB:
// resident in the server, in the kernel, and resident in the server once it has
// bound a channel that carried one packet each way. The clients' own sockets
// are there before, so that they are not in the difference.
func (s *server) hold(n int) ([]float64, error) {
	clients := make([]*client, 0, n)
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	for i := range n {
		c, err := dial(s)
		if err != nil {
			return nil, fmt.Errorf("client %d: %w", i, err)
		}
		clients = append(clients, c)
	}
	before, err := s.memory()
	if err != nil {
		return nil, err
	}
	for i, c := range clients {
		if err := c.allocate(); err != nil {
			return nil, fmt.Errorf("allocation %d: %w", i, err)
		}
	}
	held, err := s.memory()
	if err != nil {
		return nil, err
	}
	if err := use(clients); err != nil {
		return nil, err
	}
	used, err := s.memory()
	each := func(kB float64) float64 { return kB / float64(n) }
	return []float64{each(held.resident - before.resident), each(held.kernel - before.kernel), each(used.resident - before.resident)}, err
}

// use sends a packet of each client there and back through a channel.
func use(clients []*client) error {
	to, err := peer()
	if err != nil {
		return err
	}
	defer to.Close()
	go echo(to)
	packet := data(172)
	for i, c := range clients {
		err := c.bind(to.LocalAddr())
		if err == nil {
			_, err = trip(c.UDPConn, packet)
		}
		if err != nil {
			return fmt.Errorf("channel of allocation %d: %w", i, err)
		}
	}
	return nil
}

// memory is in kB.
type memory struct{ resident, kernel float64 }

// memory returns the resident memory of the server, and what the kernel uses of
// the machine for itself: slabs (sockets, files, epoll entries), page tables,
// stacks, and what it keeps for each processor. The kernel does not count that
// by process, so nothing else should begin or end meanwhile.
func (s *server) memory() (m memory, err error) {
	m.resident, err = sum(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid), "VmRSS")
	if err == nil {
		m.kernel, err = sum("/proc/meminfo", "Slab", "KernelStack", "PageTables", "Percpu")
	}
	return m, err
}

// sum adds up lines like "Slab: 123 kB" of a file.
func sum(file string, names ...string) (kB float64, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	found := 0
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		if !slices.Contains(names, name) {
			continue
		}
		v, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %q: %w", file, line, err)
		}
		found, kB = found+1, kB+v
	}
	if found != len(names) {
		return 0, fmt.Errorf("%s has not all of %v", file, names)
	}
	return kB, nil
}
