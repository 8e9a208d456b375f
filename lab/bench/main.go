//go:build linux

// Bench measures turnkey's TURN server and coturn's, and its signaling server and
// PeerJS's, side by side on one machine: each server in a process of its own, the
// load in this one, all on loopback. It prints Markdown tables.
//
//	go run ./lab/bench              everything
//	go run ./lab/bench -only rate   one of rate, binding, hold, relay, delay, signal
//
// Machines are noisy: rounds alternate between the servers, the first one does
// not count, and what is worth quoting are the ratios.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
)

// measure is what is measured of every server in one run.
type measure struct {
	name string
	rows []row // what run returns
	run  func(*server) ([]float64, error)
}

// row is one line of the table.
type row struct {
	title  string
	unit   string
	better string // more or less, "" = there is no ratio
}

func main() {
	only := flag.String("only", "", "measure only this: rate, binding, hold, relay, delay or signal")
	rounds := flag.Int("rounds", 5, "rounds that count")
	held := flag.Int("held", 10000, "allocations that are held for the memory; server and load need a descriptor for each")
	sockets := flag.Int("sockets", 15000, "sockets of signaling that are held for the memory")
	flag.Parse()
	var err error
	if *rounds < 1 {
		err = fmt.Errorf("-rounds %d: there must be a round that counts, 1 or more", *rounds)
	}
	if err == nil {
		err = raise(max(*held, *sockets) + 200)
	}
	if err == nil {
		err = bench(*only, *rounds, []table{{kinds, measures(*held)}, {signalers, conversations(*sockets)}})
	}
	if err != nil {
		slog.Error("benchmark", "error", err)
		os.Exit(1)
	}
}

// raise lets this process and those that it starts open n descriptors.
func raise(n int) error {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	if err == nil && limit.Cur < uint64(n) {
		limit.Cur, limit.Max = uint64(n), max(limit.Max, uint64(n))
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	if err != nil {
		return fmt.Errorf("open %d descriptors (ulimit -n, or hold fewer with -held): %w", n, err)
	}
	return nil
}

func measures(held int) []measure {
	each := func(what string) row {
		return row{fmt.Sprintf(what+" of %d held allocations", held), "kB each", "less"}
	}
	return []measure{
		{"rate", []row{
			{"allocations set up, with authentication", "per second", "more"},
			{"allocations set up, with authentication", "per CPU-second of the server", "more"},
		}, func(s *server) ([]float64, error) { return s.rate(4000) }},
		{"binding", []row{
			{"Binding requests answered, as fast as they can be", "per second", "more"},
			{"Binding requests answered, as fast as they can be", "per CPU-second of the server", "more"},
		}, func(s *server) ([]float64, error) { return s.binding(200000) }},
		{"hold", []row{
			each("resident memory"),
			each("kernel memory"),
			each("resident memory, once a channel has carried a packet there and back,"),
		}, func(s *server) ([]float64, error) { return s.hold(held) }},
		{"relay", []row{{"ChannelData relayed, 172 bytes, at 10000 a second", "packets per CPU-second", "more"}},
			func(s *server) ([]float64, error) { return s.relay(172) }},
		{"relay", []row{{"ChannelData relayed, 1200 bytes, at 10000 a second", "packets per CPU-second", "more"}},
			func(s *server) ([]float64, error) { return s.relay(1200) }},
		{"delay", []row{
			{"time that the relay adds there and back, 172 bytes, p50", "µs", "less"},
			{"time that the relay adds there and back, 172 bytes, p99", "µs", "less"},
		}, func(s *server) ([]float64, error) { return s.delay() }},
	}
}

// table is what is measured of two servers.
type table struct {
	kinds    func(dir string) ([]kind, error)
	measures []measure
}

func bench(only string, rounds int, tables []table) error {
	for _, t := range tables {
		t.measures = slices.DeleteFunc(t.measures, func(m measure) bool { return only != "" && only != m.name })
		if err := t.fill(rounds); err != nil {
			return err
		}
	}
	return nil
}

// fill measures, and prints the table, if there is anything in it.
func (t table) fill(rounds int) error {
	if len(t.measures) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "turnkey-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	kinds, err := t.kinds(dir)
	if err != nil {
		return err
	}
	fmt.Println("| measured | unit | " + kinds[0].name + " | " + kinds[1].name + " | ratio (better) |\n|---|---|---|---|---|")
	for _, m := range t.measures {
		results := make([][2][]float64, len(m.rows)) // of each row, of each kind
		for round := range rounds + 1 {
			for i, k := range kinds {
				values, err := once(k, m)
				if err != nil {
					return fmt.Errorf("%s of %s: %w", m.name, k.name, err)
				}
				for j, v := range values {
					if round > 0 {
						results[j][i] = append(results[j][i], v)
					}
				}
			}
		}
		for j, r := range m.rows {
			r.print(results[j])
		}
	}
	return nil
}

func (r row) print(results [2][]float64) {
	a, b := median(results[0]), median(results[1])
	if r.better == "less" {
		a, b = b, a
	}
	ratio := "" // of nothing to nothing
	if r.better != "" && b > 0 && !math.IsNaN(a) {
		ratio = fmt.Sprintf("%.2f", a/b)
	}
	fmt.Printf("| %s | %s | %s | %s | %s |\n", r.title, r.unit, spread(results[0]), spread(results[1]), ratio)
}

// once starts a server, measures it, and stops it. What is lost on a busy
// machine is measured again.
func once(k kind, m measure) (values []float64, err error) {
	for range 5 {
		if values, err = alone(k, m); !errors.Is(err, errLost) {
			break
		}
	}
	return values, err
}

func alone(k kind, m measure) ([]float64, error) {
	s, err := k.start()
	if err != nil {
		return nil, err
	}
	defer s.stop()
	return m.run(s)
}

// inTime is v without the rounds in which the load was late.
func inTime(v []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(v), math.IsNaN)
}

// median is no number if the load was always late.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(inTime(v)))
	if len(v) == 0 {
		return math.NaN()
	}
	return v[len(v)/2]
}

func spread(v []float64) string {
	in := inTime(v)
	if len(in) == 0 {
		return "the load was late"
	}
	format, m := "%.0f", median(v)
	switch {
	case m != 0 && m < 10:
		format = "%.2f"
	case m != 0 && m < 100:
		format = "%.1f"
	}
	text := fmt.Sprintf(strings.ReplaceAll("F (F to F)", "F", format), m, slices.Min(in), slices.Max(in))
	if late := len(v) - len(in); late > 0 {
		text += fmt.Sprintf(", the load was late %d times of %d", late, len(v))
	}
	return text
}
