package nattest

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"syscall"
	"time"
)

// What is measured through the relays of one URL.
const (
	pingCount    = 50
	pingEvery    = 20 * time.Millisecond
	pingSize     = 100       // bytes
	offeredBPS   = 2_000_000 // bits a second on the wire, never more, over all URLs
	fillTime     = time.Second
	fillSize     = 1200 // bytes
	wireOverhead = 32   // bytes of IPv4, UDP and ChannelData headers
	tail         = 500 * time.Millisecond
)

// pathSizes are the sizes, in bytes of UDP payload, that the path is tried
// with: what WebRTC keeps to, what tunnels pass, what Ethernet passes.
var pathSizes = [...]int{1200, 1400, 1472}

// Measured is the quality of the way to the relays and back: each packet goes
// from this machine through one relay to the other and returns.
type Measured struct {
	Sent     int     `json:"sent"` // packets, 20 ms apart
	Received int     `json:"received"`
	Loss     float64 `json:"loss"` // share, 0 to 1
	P50MS    float64 `json:"rtt_p50_ms"`
	P95MS    float64 `json:"rtt_p95_ms"`
	JitterMS float64 `json:"jitter_ms"` // RFC 3550 section 6.4.1

	// Throughput is what arrived in the last half of a second that was filled
	// at the offered rate; 0 with an offered rate of 0 was not measured.
	OfferedBPS    int64 `json:"offered_bps"`
	ThroughputBPS int64 `json:"throughput_bps"`

	// Datagrams says which sizes pass, for URLs over UDP.
	Datagrams []Datagram `json:"datagrams,omitempty"`
	Why       string     `json:"why,omitempty"` // why something is missing
}

// Datagram is a size of UDP payload that was sent, unfragmented where the
// system can promise that.
type Datagram struct {
	Bytes int    `json:"bytes"`
	State string `json:"state"` // ok, failed (silence) or too_long (this machine or the path said so)
}

// arrived is one packet of a stream.
type arrived struct{ sent, got time.Time }

// measure measures through a pair that works and has its channels bound. One
// URL at a time holds line, so that all together stay within the rate.
func measure(ctx context.Context, line chan struct{}, fill bool, pair [2]*allocation) *Measured {
	m := &Measured{}
	ping, sent := stream(ctx, pair, pingCount, pingEvery, pingSize)
	m.quality(ping, sent)
	if _, ok := pair[0].link.(*packetLink); ok {
		m.Datagrams = tryPath(ctx, pair, m.Loss)
	}
	if fill {
		line <- struct{}{}
		m.fill(ctx, pair)
		<-line
	}
	if ctx.Err() != nil {
		m.Datagrams, m.Why = nil, errLate.Error()
	}
	return m
}

// quality computes round trips, jitter and loss of a stream.
func (m *Measured) quality(got []arrived, sent int) {
	if m.Sent = sent; sent == 0 {
		return
	}
	var trips []time.Duration
	var jitter float64
	for _, a := range got {
		if a.got.IsZero() {
			continue
		}
		trip := a.got.Sub(a.sent)
		if n := len(trips); n > 0 {
			jitter += (math.Abs(float64(trip-trips[n-1])) - jitter) / 16
		}
		trips = append(trips, trip)
	}
	m.Received = len(trips)
	m.Loss = math.Round(1000*(1-float64(m.Received)/float64(sent))) / 1000
	if len(trips) == 0 {
		return
	}
	slices.Sort(trips)
	m.P50MS, m.P95MS = ms(trips[len(trips)/2]), ms(trips[len(trips)*95/100])
	m.JitterMS = ms(time.Duration(jitter))
}

// fill sends at the offered rate for a second.
func (m *Measured) fill(ctx context.Context, pair [2]*allocation) {
	bits := float64(8 * (fillSize + wireOverhead))
	every := time.Duration(bits / offeredBPS * float64(time.Second))
	start := time.Now()
	got, sent := stream(ctx, pair, int(fillTime/every), every, fillSize)
	if sent == 0 || ctx.Err() != nil {
		return
	}
	// The first half may pass by a burst that a limit allows.
	var offered, through float64
	for _, a := range got {
		if a.sent.Sub(start) > fillTime/2 {
			offered += bits
			if !a.got.IsZero() {
				through += bits
			}
		}
	}
	if !pair[0].lossy() {
		offered = bits * float64(int(fillTime/2/every)) // a full connection takes less, for the line's sake
	}
	second := float64(time.Second) / float64(fillTime/2)
	m.OfferedBPS, m.ThroughputBPS = min(int64(offered*second), offeredBPS), min(int64(through*second), offeredBPS)
}

// stream sends packets from the first allocation to the second, one every so
// often, and says when each left and came. It waits half a second for the last.
func stream(ctx context.Context, pair [2]*allocation, count int, every time.Duration, size int) (packets []arrived, sent int) {
	test := newPackets()
	var mu sync.Mutex // of packets and sent
	packets = make([]arrived, count)
	start := time.Now()
	end := start.Add(time.Duration(count) * every)
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := range count {
			timer := time.NewTimer(time.Until(start.Add(time.Duration(n) * every)))
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			if time.Now().After(end) {
				return // a connection that takes no more, or a machine without time
			}
			mu.Lock()
			packets[n].sent, sent = time.Now(), n+1
			mu.Unlock()
			if pair[0].send(pair[1].relayed, test.packet(n, size)) != nil {
				return
			}
		}
	})
	for have := 0; have < count && ctx.Err() == nil; {
		raw, err := pair[1].read(earlier(end.Add(tail), time.Now().Add(100*time.Millisecond)))
		if now := time.Now(); err == nil {
			n, ok := pair[1].from(raw, test, size, pair[0].relayed.Addr())
			mu.Lock()
			if ok && n < count && packets[n].got.IsZero() {
				packets[n].got = now
				have++
			}
			mu.Unlock()
		} else if !timedOut(err) || !now.Before(end.Add(tail)) {
			break
		}
	}
	writer.Wait()
	return packets, sent
}

// tryPath sends packets of each size, again until they arrive. Silence where
// many packets get lost anyway proves nothing and is left out.
func tryPath(ctx context.Context, pair [2]*allocation, loss float64) []Datagram {
	ctx, cancel := context.WithTimeout(ctx, 1200*time.Millisecond)
	defer cancel()
	dontFragment(pair[0].link)
	defer mayFragment(pair[0].link)
	test := newPackets()
	sizes := [len(pathSizes)]Datagram{}
	for i, n := range pathSizes {
		sizes[i] = Datagram{n, "failed"}
	}
	_ = repeat(ctx, pair[0], pair[1], func(int) ([]byte, error) {
		for i := range sizes {
			if sizes[i].State == "failed" {
				err := pair[0].send(pair[1].relayed, test.packet(i, sizes[i].Bytes-4)) // without the header of ChannelData
				if errors.Is(err, syscall.EMSGSIZE) {
					sizes[i].State = "too_long"
				}
			}
		}
		return nil, nil
	}, func(raw []byte) bool {
		for i := range sizes {
			if n, ok := pair[1].from(raw, test, sizes[i].Bytes-4, pair[0].relayed.Addr()); ok && n == i {
				sizes[i].State = "ok"
			}
		}
		return !slices.ContainsFunc(sizes[:], func(d Datagram) bool { return d.State == "failed" })
	})
	for i := len(sizes) - 1; i > 0; i-- { // where one passes, so does every shorter one
		if sizes[i].State == "ok" && sizes[i-1].State == "failed" {
			sizes[i-1].State = "ok"
		}
	}
	return slices.DeleteFunc(slices.Clone(sizes[:]), func(d Datagram) bool { return d.State == "failed" && loss > 0.1 })
}
