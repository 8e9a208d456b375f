package visitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
)

// Bounds of what a page may report.
const (
	maxTrials     = 8
	maxCandidates = 32
	maxURLs       = 16
	maxStages     = 4
	maxMS         = 60_000
)

// observation is what a page says that it saw. It may be anything: it is used
// for the report that this page gets, and for nothing else.
type observation struct {
	MS     float64     `json:"ms"` // how long the test took
	Trials []trialSeen `json:"trials"`
	TURN   []turnSeen  `json:"turn"`
	// Local is, for v4 and v6, the type of the local candidate after a check that
	// the server answered (RFC 8445 section 7.2.5.3.1): host where the address
	// that the server saw is the device's own.
	Local map[string]string `json:"local"`
}

// trialSeen is one peer connection that asked every STUN endpoint.
type trialSeen struct {
	Host     []candidate `json:"host"`
	Srflx    []candidate `json:"srflx"`
	Complete bool        `json:"complete"` // the browser waited for no answer any more
	MS       float64     `json:"ms"`
}

// candidate is the transport address of an ICE candidate. Address is a name
// (mDNS) where the browser hides it.
type candidate struct {
	Address string `json:"address"`
	Port    uint16 `json:"port"`
}

func (c candidate) addr() (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(c.Address)
	if err != nil || c.Port == 0 || a.IsUnspecified() {
		return netip.AddrPort{}, false
	}
	return unmap(netip.AddrPortFrom(a, c.Port)), true
}

// turnSeen is the verification of one TURN URL.
type turnSeen struct {
	URL    string      `json:"url"`
	Stages []stageSeen `json:"stages"`
	RTTMS  float64     `json:"rtt_ms"`
	Code   int         `json:"code"` // of an ICE candidate error, 0 if there was none
}

// stageSeen is one of the stages allocate, connect and relay.
type stageSeen struct {
	Name string  `json:"name"`
	OK   bool    `json:"ok"`
	MS   float64 `json:"ms"`
}

var errTooMuch = errors.New("more than a test has")

func parseObservation(b []byte) (observation, error) {
	var o observation
	if len(b) > maxBody {
		return observation{}, errTooMuch
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return observation{}, err
	}
	if len(o.Local) > len(families) || len(o.Trials) > maxTrials || len(o.TURN) > maxURLs {
		return observation{}, errTooMuch
	}
	times := []float64{o.MS}
	for _, t := range o.Trials {
		if len(t.Host) > maxCandidates || len(t.Srflx) > maxCandidates {
			return observation{}, errTooMuch
		}
		times = append(times, t.MS)
	}
	for _, u := range o.TURN {
		if len(u.Stages) > maxStages || u.Code < 0 || u.Code > 999 {
			return observation{}, errTooMuch
		}
		times = append(times, u.RTTMS)
		for _, st := range u.Stages {
			if st.Name != "allocate" && st.Name != "connect" && st.Name != "relay" {
				return observation{}, fmt.Errorf("there is no stage %.20q", st.Name)
			}
			times = append(times, st.MS)
		}
	}
	for _, ms := range times {
		if ms < 0 || ms > maxMS {
			return observation{}, fmt.Errorf("no test takes %g ms", ms)
		}
	}
	return o, nil
}
