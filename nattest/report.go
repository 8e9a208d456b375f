package nattest

import (
	"net/netip"
	"time"

	"turnkey/nattest/around"
)

// The mapping and filtering behaviors of RFC 4787 sections 4.1 and 5, and what
// stands where there is none, as JSON has them.
const (
	EndpointIndependent     = "endpoint-independent"
	AddressDependent        = "address-dependent"
	AddressAndPortDependent = "address-and-port-dependent"
	Unknown                 = "unknown"    // tested, and the evidence does not suffice
	NotTested               = "not_tested" // no evidence was looked for
)

// Report is the outcome of Run. docs/nat.md describes its JSON.
type Report struct {
	Schema     int       `json:"schema"` // 1; members may be added to it
	Time       time.Time `json:"time"`
	DurationMS int64     `json:"duration_ms"`
	Server     Server    `json:"server"`
	Verdict    Verdict   `json:"verdict"` // for the machine as a whole
	V4         Family    `json:"v4"`
	V6         Family    `json:"v6"`
	TURN       Relay     `json:"turn"`

	Around *around.Report `json:"around,omitempty"` // absent: not looked at

	interrupted bool // while the tests that are opt-in ran
}

// Server is what was tested against.
type Server struct {
	Host      string           `json:"host"`
	HTTP      string           `json:"http,omitempty"` // base URL of the API, "" when it did not answer
	Addresses []netip.Addr     `json:"addresses"`
	STUN      []netip.AddrPort `json:"stun"`
	Notes     []string         `json:"notes,omitempty"`
}

// Verdict says whether peers of this machine need a relay.
type Verdict struct {
	Relay      string   `json:"relay"`      // not_required, unlikely, likely, required or unknown
	Scope      string   `json:"scope"`      // towards whom
	Reason     string   `json:"reason"`     // why
	Advice     string   `json:"advice"`     // what to do
	Confidence float64  `json:"confidence"` // 0 to 1, of the evidence below it
	Caveats    []string `json:"caveats,omitempty"`
}

// Family is what was seen over IPv4 or over IPv6.
type Family struct {
	UDP              string     `json:"udp"`               // ok, partial, blocked, no_answer or not_tested
	Why              string     `json:"why,omitempty"`     // of not_tested
	Endpoints        []Endpoint `json:"endpoints"`         // of the server
	NAT              string     `json:"nat"`               // yes, no or unknown
	Mapped           []Mapped   `json:"mapped"`            // the addresses the server saw
	Mapping          Mapping    `json:"mapping"`           //
	Filtering        Filtering  `json:"filtering"`         //
	Pooling          string     `json:"pooling"`           // paired, arbitrary or unknown (RFC 4787 section 4.1)
	PortPreservation string     `json:"port_preservation"` // yes, no or unknown
	InboundDisturbs  string     `json:"inbound_disturbs"`  // yes, no, unknown or not_tested: does an unsolicited packet change the mapping towards its sender
	Stable           string     `json:"stable"`            // yes, no or unknown: is a mapping the same at the end of the test
	Classic          string     `json:"classic"`           // the name of RFC 3489 section 5, "" when it cannot be told
	Signature        string     `json:"signature"`         // mapping and filtering in short, such as v4:EIM/APDF
	NAT64            string     `json:"nat64"`             // yes, no or unknown (RFC 6146)
	Loss             float64    `json:"loss"`              // share of requests unanswered by endpoints that answer, 0 to 1
	RTTMS            float64    `json:"rtt_ms,omitempty"`  // the least round trip, 0 unknown
	Hairpin          Hairpin    `json:"hairpin"`           // RFC 4787 section 6
	Lifetime         Lifetime   `json:"lifetime"`          // of a mapping, RFC 5780 section 4.6
	Fragments        Fragments  `json:"fragments"`         // RFC 5780 section 4.8
	ALG              ALG        `json:"alg"`               // RFC 5780 section 4.9
	Verdict          Verdict    `json:"verdict"`
	Trials           []Trial    `json:"trials"`   // what the mapping was read from
	Evidence         []Evidence `json:"evidence"` // every transaction

	perFlow bool // one socket was seen at several addresses
}

// Evidence is one transaction: the requests with one transaction id, and the
// answer to them.
type Evidence struct {
	ID      int            `json:"id"`
	Kind    string         `json:"kind"`   // mapping, again, control, change_port, change_both, solicited_port, solicited_both or disturb
	Socket  int            `json:"socket"` // number of the socket in the family
	Local   netip.AddrPort `json:"local"`
	To      netip.AddrPort `json:"to"`
	Expect  netip.AddrPort `json:"expect,omitzero"` // where the answer must come from, if not from there
	Sends   int            `json:"sends"`
	Answers int            `json:"answers"`           // that count; the first one is here
	From    netip.AddrPort `json:"from,omitzero"`     // UDP source of the answer
	Mapped  netip.AddrPort `json:"mapped,omitzero"`   // its XOR-MAPPED-ADDRESS
	Origin  netip.AddrPort `json:"origin,omitzero"`   // its RESPONSE-ORIGIN
	Other   netip.AddrPort `json:"other,omitzero"`    // its OTHER-ADDRESS
	Error   int            `json:"error,omitempty"`   // its STUN error code
	Fault   string         `json:"fault,omitempty"`   // why it does not count
	TMS     float64        `json:"t_ms"`              // the first request, after the family's first
	TookMS  float64        `json:"took_ms,omitempty"` // from that to the answer
}

// Endpoint is one STUN address and port of the server.
type Endpoint struct {
	Endpoint netip.AddrPort `json:"endpoint"`
	Asked    int            `json:"asked"`    // sockets that asked it
	Answered int            `json:"answered"` // sockets it answered
	RTTMS    float64        `json:"rtt_ms,omitempty"`
}

// Mapped is an address this machine was seen from.
type Mapped struct {
	Address netip.Addr `json:"address"`
	Count   int        `json:"count"` // answers
}

// Mapping is the mapping behavior and how sure it is.
type Mapping struct {
	Behavior   string         `json:"behavior"`   // one of the four constants
	Possible   []string       `json:"possible"`   // the behaviors that the evidence allows
	Confidence float64        `json:"confidence"` // 0 to 1; 0 for unknown
	Level      string         `json:"level"`      // high, medium, low or none
	Votes      map[string]int `json:"votes"`      // trials by what each shows alone
	Caveats    []string       `json:"caveats,omitempty"`
	split      bool           // trials contradict each other
}

// Filtering is the filtering behavior of RFC 4787 section 5.
type Filtering struct {
	Behavior   string   `json:"behavior"`   // one of the constants
	Possible   []string `json:"possible"`   // the behaviors that the evidence allows
	Confidence float64  `json:"confidence"` // 0 to 1; 0 for unknown and not_tested
	Level      string   `json:"level"`      // high, medium, low or none
	Rounds     Rounds   `json:"rounds"`
	Caveats    []string `json:"caveats,omitempty"`
}

// Rounds counts the rounds of the filtering test, each a request for an answer
// from the server's other port, one for an answer from its other address and
// port, and a control request that is answered from where it was sent.
type Rounds struct {
	Sent          int `json:"sent"`
	ControlOK     int `json:"control_ok"`
	ChangedPortOK int `json:"changed_port_ok"`
	ChangedBothOK int `json:"changed_both_ok"`
}

// Trial is one fresh socket.
type Trial struct {
	Local   netip.AddrPort `json:"local"`
	Answers []Answer       `json:"answers"`
}

// Answer is what one endpoint told one socket.
type Answer struct {
	Endpoint netip.AddrPort `json:"endpoint"`
	Mapped   netip.AddrPort `json:"mapped,omitzero"` // absent: no answer
	Sends    int            `json:"sends"`           // requests sent
	RTTMS    float64        `json:"rtt_ms,omitempty"`
}

// Relay is the verification of TURN.
type Relay struct {
	State string      `json:"state"`          // ok (one URL at least works), failed or not_tested
	Why   string      `json:"why,omitempty"`  // why it was not tested, or what limits it
	Hint  string      `json:"hint,omitempty"` // what to do about that
	URLs  []URLReport `json:"urls"`
}

// URLReport is one TURN URL: two allocations through it, and packets through
// their relays.
type URLReport struct {
	URL      string         `json:"url"`
	Address  netip.AddrPort `json:"address,omitzero"` // of the server, where it was tested
	State    string         `json:"state"`            // ok, failed or not_tested
	Stages   []Stage        `json:"stages"`
	Loops    Loops          `json:"loops"`
	RTTMS    float64        `json:"rtt_ms,omitempty"` // relay to relay and back
	Failed   string         `json:"failed,omitempty"` // the stage that failed
	Code     int            `json:"code,omitempty"`   // its STUN error code (RFC 8656 section 19)
	Reason   string         `json:"reason,omitempty"`
	Hint     string         `json:"hint,omitempty"`
	Notes    []string       `json:"notes,omitempty"`    // what is wrong at other addresses of the name
	Measured *Measured      `json:"measured,omitempty"` // by check

	test    turnURL      // what was tested
	fault   *fault       // why it failed
	shared  bool         // the name has other addresses, too
	server  []netip.Addr // addresses of the server
	relayed netip.Addr   // of the relays
	mapped  []netip.Addr // where the server saw the clients
}

// Stage is one step of a verification: dns, connect, tls, challenge, allocate,
// permission, channel (check only), data.
type Stage struct {
	Name   string  `json:"name"`
	State  string  `json:"state"` // ok, failed or not_tested
	MS     float64 `json:"ms"`
	Detail string  `json:"detail,omitempty"`
}

// ExitCode is what the process should return: 0 direct works or is likely to,
// 1 a relay is needed and TURN works, 3 it is needed and TURN does not work,
// 4 inconclusive, also when it is needed and TURN was not tested, and when the
// test was interrupted.
func (r *Report) ExitCode() int {
	if r.interrupted {
		return 4
	}
	switch r.Verdict.Relay {
	case notRequired, unlikely:
		return 0
	case likely, required:
		switch r.TURN.State {
		case "ok":
			return 1
		case "failed":
			return 3
		}
	}
	return 4
}
