package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"turnkey/signal/sdp"
)

func (s *Side) see(e Event, now time.Time) {
	switch e.What {
	case Offered, Answered:
		s.describe(e, now)
	case Passed:
		s.Candidates.add(e.Candidates)
	case Held:
		s.Candidates.Held += len(e.Candidates)
	case Dropped:
		s.Candidates.Dropped += len(e.Candidates)
	case Ended:
		s.Candidates.End = true
	case Refused:
		s.Fault = Fault{e.Fault.Type, e.Fault.Code, clip(e.Fault.Message)}
	case Reported:
		s.Report, s.Reported = e.Report, now
	}
	if e.What == Passed && s.Fault.Type == "candidate" {
		s.Fault = Fault{}
	}
}

func (s *Side) describe(e Event, now time.Time) {
	first := s.Offered.IsZero() && s.Answered.IsZero()
	if e.What == Offered {
		s.Offered = now
	} else {
		s.Answered = now
	}
	if e.Restart {
		s.Restarts++
	}
	if e.Restart || first {
		s.Candidates = Candidates{}
	}
	s.Candidates.Held = 0
	s.Candidates.Dropped += e.Missed
	s.Candidates.End = s.Candidates.End || e.End
	s.Candidates.add(e.Candidates)
	s.Fault = Fault{}
}

func (c *Candidates) add(list []sdp.Candidate) {
	for _, one := range list {
		switch one.Type {
		case "host":
			c.Host++
		case "srflx":
			c.Srflx++
		case "prflx":
			c.Prflx++
		case "relay":
			c.Relay++
		}
		if one.Local() {
			c.Local++
		}
		a, err := netip.ParseAddr(one.Address)
		if a = a.Unmap(); err == nil && len(c.Addresses) < mostAddresses && !slices.Contains(c.Addresses, a) {
			c.Addresses = append(c.Addresses, a)
		}
	}
}

// newest adds one to a list that holds so many at most.
func newest[T any](list []T, one T, most int) []T {
	if len(list) >= most {
		list = slices.Delete(list, 0, len(list)-most+1)
	}
	return append(list, one)
}

// clip copies a text, or the beginning of a long one.
func clip(s string) string { return strings.ToValidUTF8(strings.Clone(s[:min(len(s), maxText)]), "") }
