package nattest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// turnItems makes items of how the TURN URLs did.
func (f *facts) turnItems(urls []URLReport) (out []Item) {
	if len(urls) == 0 {
		why := "the HTTP API does not answer"
		if f.base != "" {
			why = "no credentials"
		}
		return []Item{{Name: "turn", Target: "TURN", State: "not_tested", Reason: why}}
	}
	w := waysOf(urls)
	var without []string // addresses that this machine has no way to
	for _, u := range urls {
		if u.State == "not_tested" && u.Failed == "connect" {
			if at := u.Address.Addr().String(); slices.Contains(without, at) {
				continue
			} else if without = append(without, at); true {
				out = append(out, Item{Name: "turn", Target: "TURN at " + at, State: "not_tested", Reason: u.Reason, TURN: &u})
				continue
			}
		}
		it := Item{Name: "turn", Target: u.URL, State: u.State, MS: u.RTTMS, Reason: u.Reason, Hint: u.Hint, TURN: &u}
		if u.shared && u.Address.IsValid() {
			it.Target += " at " + u.Address.Addr().String()
		}
		if u.State == "ok" && u.Measured != nil {
			it.State, it.Reason, it.Hint = w.judge(u.Measured, u.test.datagrams())
			it.Detail, it.MS = u.Measured.String(), 0
		}
		out = append(out, it)
	}
	return append(out, f.relayPortItem(urls))
}

// ways is what the URLs together tell about the way to the server.
type ways struct{ loses, swallows bool }

func waysOf(urls []URLReport) (w ways) {
	for _, u := range urls {
		if m := u.Measured; m != nil && u.test.datagrams() {
			w.loses = w.loses || m.Loss >= lossWarned
			w.swallows = w.swallows || slices.ContainsFunc(m.Datagrams, func(d Datagram) bool { return d.State == "failed" && d.Bytes <= 1400 })
		}
	}
	return w
}

// Limits of what is judged good, as shares.
const (
	lossWarned  = 0.03
	lossFails   = 0.10
	slowerWarns = 0.8 // of the rate offered
)

// judge says what is wrong with the quality of one URL's relays, if anything.
func (w ways) judge(m *Measured, datagrams bool) (state, reason, hint string) {
	size := func(n int) string {
		for _, d := range m.Datagrams {
			if d.Bytes == n {
				return d.State
			}
		}
		return ""
	}
	const bandwidth = "TURNKEY_BANDWIDTH_PER_ALLOCATION, TURNKEY_BANDWIDTH_PER_USER and TURNKEY_BANDWIDTH"
	lost := fmt.Sprintf("%.0f %% of %d packets", 100*m.Loss, m.Sent)
	slow := fmt.Sprintf("of %s Mbit/s sent, %s arrive", mbit(m.OfferedBPS), mbit(m.ThroughputBPS))
	switch {
	case m.Sent == 0:
		return "ok", "", ""
	case datagrams && m.Loss >= lossWarned:
		state = "warning"
		if m.Loss >= lossFails {
			state = "failed"
		}
		return state, lost + " got lost", "look for the loss between here and the server (compare from another network), and on the server's line; calls suffer from 3 %"
	case size(1200) == "failed" || size(1200) == "too_long":
		return "failed", "packets of 1200 bytes do not pass, which WebRTC sends", "the path MTU must be 1280 bytes at least: check tunnels and VPNs on the way"
	case size(1400) == "failed":
		return "warning", "packets of 1200 bytes pass, those of 1400 vanish without a word (a path MTU black hole)",
			"let ICMP \"fragmentation needed\" pass the firewalls, or set the MTU of the tunnel; WebRTC's packets are smaller, but TCP and TLS hang"
	case m.OfferedBPS > 0 && float64(m.ThroughputBPS) < slowerWarns*float64(m.OfferedBPS):
		switch {
		case !datagrams && w.swallows:
			return "warning", slow, "long segments vanish on the way, see TURN over UDP"
		case !datagrams && w.loses:
			return "warning", slow, "packets get lost on the way, see TURN over UDP"
		}
		return "warning", slow, "the server limits it (" + bandwidth + "), or a line on the way is no faster"
	case m.Loss >= lossWarned:
		return "warning", lost + " came late or not at all", "packets get lost on the way, and the connection waits for them"
	}
	return "ok", "", ""
}

// String is the quality in one line.
func (m *Measured) String() string {
	s := fmt.Sprintf("%.1f ms (p95 %.1f), jitter %.1f, loss %.0f %%", m.P50MS, m.P95MS, m.JitterMS, 100*m.Loss)
	if m.OfferedBPS > 0 {
		s += ", " + mbit(m.ThroughputBPS) + " Mbit/s"
	}
	largest := 0
	for _, d := range m.Datagrams {
		if d.State == "ok" {
			largest = max(largest, d.Bytes)
		}
	}
	if largest > 0 {
		s += fmt.Sprintf(", %d bytes", largest)
	}
	return s
}

func mbit(bps int64) string { return strconv.FormatFloat(float64(bps)/1e6, 'f', 1, 64) }

// relayPortItem sums up the loops from outside.
func (f *facts) relayPortItem(urls []URLReport) Item {
	it := Item{Name: "relay_ports", Target: "relay ports from here", State: "not_tested", Reason: "no allocation to test them with"}
	sum, at := LoopReport{}, URLReport{}
	for _, u := range urls {
		l := u.Loops.SocketToRelay
		if u.State != "ok" || l.State == "not_tested" && sum.State != "" {
			continue
		}
		if sum.State == "" || sum.State == "not_tested" {
			sum, at = l, u
		} else {
			sum = both(sum, l)
		}
	}
	if sum.State == "" {
		return it
	}
	sum.explain(at.relayed, f, at.server)
	it.State, it.Reason, it.Hint, it.MS = sum.State, sum.Why, sum.Hint, sum.RTTMS
	if tried := len(sum.Open) + len(sum.Closed); tried > 0 {
		it.Target = fmt.Sprintf("UDP from here to %d relay %s of %s", tried, plural(tried, "port"), at.relayed)
	}
	if it.State == "failed" && len(sum.Open) == 0 && !sum.oneWay {
		it.Reason += ", though packets between relays do"
	}
	return it
}

// checkCredential says how long the credential lasts by the clock of the server
// that made it.
func (f *facts) checkCredential(now time.Time) []Item {
	if len(f.urls) == 0 {
		return nil
	}
	it := Item{Name: "credential", Target: "credential of /v1/ice", State: "not_tested", Reason: "its user name holds no time, so it does not expire"}
	digits, _, _ := strings.Cut(f.urls[0].username, ":")
	unix, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || unix <= 0 {
		return []Item{it}
	}
	it.State, it.Reason = "ok", ""
	end := time.Unix(unix, 0)
	switch left := end.Sub(now.Add(f.skew)); {
	case left <= 0:
		it.State, it.Reason = "failed", fmt.Sprintf("it expired %s before it was handed out, at %s", span(left), end.UTC().Format(time.RFC3339))
		it.Hint = "check the clock of the server that makes credentials, and TURNKEY_CREDENTIAL_TTL"
	case left < 5*time.Minute:
		it.State, it.Reason = "warning", "it lasts only "+span(left)
		it.Hint = "raise TURNKEY_CREDENTIAL_TTL: whoever takes longer to call gets no relay"
	default:
		it.Detail = "lasts " + span(left)
	}
	return []Item{it}
}

// clockDiffers is the difference of clocks from which on it is told.
const clockDiffers = 30 * time.Second

// checkClock compares this machine's clock with the Date header.
func (f *facts) checkClock() []Item {
	it := Item{Name: "clock", Target: "clock of the HTTP server", State: "ok", Detail: "as here, within " + span(clockDiffers)}
	switch {
	case f.base == "":
		return nil
	case f.date.IsZero():
		it.State, it.Detail, it.Reason = "not_tested", "", "it sends no Date"
	case f.skew.Abs() >= clockDiffers:
		which := "ahead of"
		if f.skew < 0 {
			which = "behind"
		}
		it.State, it.Detail = "warning", ""
		it.Reason = fmt.Sprintf("it is %s %s this machine's", span(f.skew), which)
		it.Hint = "let both keep time by NTP; a server whose clock is wrong refuses good credentials, or takes old ones"
	}
	return []Item{it}
}
