// Bench measures turnkey's TURN server and coturn's, side by side on one
// machine: each server in a process of its own, the load in this one, all on
// loopback. It prints Markdown tables.
//
//	go run ./lab/bench              everything
//	go run ./lab/bench -only rate   one of rate, hold, relay, delay
//
// Machines are noisy: rounds alternate between the servers, the first one does
// not count, and what is worth quoting are the ratios.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
)

// measure is one thing that is measured of every server.
type measure struct {
	name   string
	title  string
	unit   string
	better string // more or less
	run    func(*server) (float64, error)
}

func main() {
	only := flag.String("only", "", "measure only this: rate, hold, relay or delay")
	rounds := flag.Int("rounds", 5, "rounds that count")
	held := flag.Int("held", 9000, "allocations that are held for the memory; server and load need a descriptor for each")
	flag.Parse()
	if err := bench(*only, *rounds, *held); err != nil {
		slog.Error("benchmark", "error", err)
		os.Exit(1)
	}
}

func measures(held int) []measure {
	return []measure{
		{"rate", "allocations set up, with authentication", "per second", "more", func(s *server) (float64, error) { return s.rate(4000) }},
		{"rate", "allocations set up, with authentication", "per CPU-second of the server", "more", func(s *server) (float64, error) { return s.ratePerCPU(4000) }},
		{"hold", fmt.Sprintf("resident memory for %d held allocations", held), "kB each", "less", func(s *server) (float64, error) { return s.hold(held) }},
		{"relay", "ChannelData relayed, 172 bytes, at 10000 a second", "packets per CPU-second", "more", func(s *server) (float64, error) { return s.relay(172) }},
		{"relay", "ChannelData relayed, 1200 bytes, at 10000 a second", "packets per CPU-second", "more", func(s *server) (float64, error) { return s.relay(1200) }},
		{"delay", "there and back through the relay, 172 bytes, p50", "µs", "less", func(s *server) (float64, error) { return s.delay(0.50) }},
		{"delay", "there and back through the relay, 172 bytes, p99", "µs", "less", func(s *server) (float64, error) { return s.delay(0.99) }},
	}
}

func bench(only string, rounds, held int) error {
	dir, err := os.MkdirTemp("", "turnkey-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	kinds, err := kinds(dir)
	if err != nil {
		return err
	}
	fmt.Println("| measured | unit | " + kinds[0].name + " | " + kinds[1].name + " | ratio (better) |\n|---|---|---|---|---|")
	for _, m := range measures(held) {
		if only != "" && only != m.name {
			continue
		}
		results := make([][]float64, len(kinds))
		for round := range rounds + 1 {
			for i, k := range kinds {
				v, err := once(k, m)
				if err != nil {
					return fmt.Errorf("%s of %s: %w", m.title, k.name, err)
				}
				if round > 0 {
					results[i] = append(results[i], v)
				}
			}
		}
		a, b := median(results[0]), median(results[1])
		ratio := a / b
		if m.better == "less" {
			ratio = b / a
		}
		fmt.Printf("| %s | %s | %s | %s | %.2f |\n", m.title, m.unit, spread(results[0]), spread(results[1]), ratio)
	}
	return nil
}

// once starts a server, measures it, and stops it.
func once(k kind, m measure) (float64, error) {
	s, err := k.start()
	if err != nil {
		return 0, err
	}
	defer s.stop()
	return m.run(s)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func spread(v []float64) string {
	format := "%.0f"
	if median(v) < 100 {
		format = "%.1f"
	}
	return fmt.Sprintf(strings.ReplaceAll("F (F to F)", "F", format), median(v), slices.Min(v), slices.Max(v))
}
