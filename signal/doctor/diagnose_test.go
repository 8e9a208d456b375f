package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	start = time.Date(2026, 9, 21, 12, 0, 0, 0, time.UTC)
	now   = start.Add(30 * time.Second)
)

// after is so many seconds after the start.
func after(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// pair is anna, who came first, and bob, who offers; both have said that they
// tried all they have. Each case spoils it.
func fine() Pair {
	all := Candidates{Host: 2, Srflx: 1, Relay: 1, End: true}
	anna := Peer{ID: "p_anna", Joined: start, TURN: true, Bound: after(3), Allocated: []Allocation{{At: after(3), Transport: "udp"}},
		Sessions: []Session{{Transport: "udp"}}}
	bob := anna
	bob.ID, bob.Joined = "p_bob", after(1)
	return Pair{
		Peers: [2]Peer{anna, bob},
		Sides: [2]Side{{Answered: after(5), Candidates: all, Report: Report{State: "connecting"}}, {Offered: after(4), Candidates: all, Report: Report{State: "connecting"}}},
	}
}

const (
	a, b = 0, 1 // anna, bob
)

var cases = []struct {
	name  string
	spoil func(*Pair)
	stage Stage
	want  string // code: message > hint, a line each
}{
	{"nothing wrong", func(*Pair) {}, StageChecking, `
nothing_wrong: nothing wrong was seen between p_anna and p_bob so far, and they are still trying`},

	{"no reports", func(p *Pair) { p.Sides[a].Report, p.Sides[b].Report = Report{}, Report{} }, StageCandidates, `
nothing_wrong: nothing wrong was seen between p_anna and p_bob; whether they are connected is not known, for neither has said so > a client may tell with a state message: see docs/protocol.md`},

	{"direct", func(p *Pair) { p.Sides[a].Report = Report{"connected", "host", "srflx", "udp"} }, StageConnected, `
connected_direct: p_anna and p_bob are connected directly, over udp: no relay is used`},

	{"connected, path unknown", func(p *Pair) { p.Sides[b].Report = Report{State: "connected"} }, StageConnected, `
connected: p_anna and p_bob are connected; neither has said by which path`},

	{"peer-reflexive may be a relay", func(p *Pair) { p.Sides[a].Report = Report{"connected", "host", "prflx", "udp"} }, StageConnected, `
connected: p_anna and p_bob are connected, over udp; whether through the relay of p_bob is not known`},

	{"peer-reflexive, and the other knows better", func(p *Pair) {
		p.Sides[a].Report, p.Sides[a].Reported = Report{"connected", "host", "prflx", "udp"}, after(9)
		p.Sides[b].Report, p.Sides[b].Reported = Report{"connected", "host", "host", "udp"}, after(8)
	}, StageConnected, `
connected_direct: p_anna and p_bob are connected directly, over udp: no relay is used`},

	{"peer-reflexive, and it is a relay", func(p *Pair) {
		p.Sides[a].Report, p.Sides[a].Reported = Report{"connected", "host", "prflx", "udp"}, after(9)
		p.Sides[b].Report, p.Sides[b].Reported = Report{"connected", "relay", "host", "udp"}, after(8)
	}, StageRelayed, `
relayed: the connection goes through the relay that p_bob has on this server, and reaches over udp`},

	{"relayed", func(p *Pair) { p.Sides[a].Report = Report{"connected", "relay", "srflx", "udp"} }, StageRelayed, `
relayed: the connection goes through the relay that p_anna has on this server, and reaches over udp`},

	{"both relayed, one tells", func(p *Pair) {
		p.Sides[b].Report = Report{"connected", "relay", "relay", "udp"}
		p.Peers[a].Sessions = []Session{{Transport: "udp"}, {Transport: "tcp"}}
	}, StageRelayed, `
relayed: the connection goes through the relay that p_bob has on this server, and reaches over udp
relayed: the connection goes through the relay that p_anna has on this server`},

	{"relay of another server", func(p *Pair) {
		p.Sides[a].Report = Report{"connected", "relay", "host", "udp"}
		p.Peers[a].Sessions, p.Peers[a].Allocated = nil, nil
	}, StageRelayed, `
relayed: the connection goes through a relay of p_anna that is not this server's`},

	{"relayed on tcp", func(p *Pair) {
		p.Sides[a].Report = Report{"connected", "relay", "host", "tcp"}
		p.Peers[a].Bound, p.Peers[a].Sessions = time.Time{}, []Session{{Transport: "tcp"}}
		p.Peers[a].Allocated = []Allocation{{At: after(3), Transport: "tcp"}}
	}, StageRelayed, `
relayed_tcp: the connection goes through the relay that p_anna has on this server, and reaches over tcp; over UDP nothing came from p_anna > let UDP to TURNKEY_PORT of this server out of that network; over TCP, one lost packet delays all that follow`},

	{"relayed on tcp, and udp works", func(p *Pair) { p.Sides[a].Report = Report{"connected", "relay", "host", "tls"} }, StageRelayed, `
relayed: the connection goes through the relay that p_anna has on this server, and reaches over tls`},

	{"nobody offered", func(p *Pair) { p.Sides = [2]Side{} }, StageJoined, `
no_offer: neither p_anna nor p_bob has offered > unless it was told otherwise, the one that came later has to offer: p_bob`},

	{"offer refused", func(p *Pair) {
		p.Sides = [2]Side{b: {Fault: Fault{"offer", "sdp_no_fingerprint", "no a=fingerprint"}}}
	}, StageJoined, `
refused: the newest offer of p_bob was refused and not passed on: sdp_no_fingerprint: no a=fingerprint > the error that its page got has a hint; docs/protocol.md lists the codes`},

	{"no answer", func(p *Pair) { p.Sides[a] = Side{} }, StageOffered, `
no_answer: p_anna has not answered the offer that p_bob sent 26s ago > its page has to call setRemoteDescription with the offer, then createAnswer, setLocalDescription, and send the answer; its console tells which failed`},

	{"answer to an older offer", func(p *Pair) { p.Sides[b].Offered = after(20) }, StageOffered, `
no_answer: p_anna has not answered the offer that p_bob sent 10s ago > its page has to call setRemoteDescription with the offer, then createAnswer, setLocalDescription, and send the answer; its console tells which failed`},

	{"answer refused", func(p *Pair) { p.Sides[a] = Side{Fault: Fault{"answer", "sdp_setup", "a=setup:actpass"}} }, StageOffered, `
refused: the newest answer of p_anna was refused and not passed on: sdp_setup: a=setup:actpass > the error that its page got has a hint; docs/protocol.md lists the codes`},

	{"candidates not sent", func(p *Pair) { p.Sides[a].Candidates = Candidates{} }, StageChecking, `
candidates_missing: no candidate of p_anna reached p_bob: p_anna has sent none > send every candidate of the icecandidate event, or wait for the end of gathering before the description is sent`},

	{"end without candidates", func(p *Pair) { p.Sides[b].Candidates = Candidates{End: true} }, StageChecking, `
candidates_missing: no candidate of p_bob reached p_anna: p_bob sent the end of candidates and none before it > send every candidate of the icecandidate event; with iceTransportPolicy relay there are none unless an Allocate succeeds`},

	{"candidates wait", func(p *Pair) { p.Sides[b].Candidates = Candidates{Held: 3} }, StageChecking, `
candidates_missing: 3 candidates of p_bob never reached p_anna: they wait for a description of p_bob with their username fragment > send the description before its candidates, or at least send it`},

	{"candidates too late", func(p *Pair) { p.Sides[b].Candidates = Candidates{Dropped: 2} }, StageChecking, `
candidates_missing: none of the candidates of p_bob reached p_anna: 2 belong to an older description > send the candidates of the newest description`},

	{"only local", func(p *Pair) { p.Sides[a].Candidates = Candidates{Host: 2, Local: 2, End: true} }, StageChecking, `
candidates_local_only: all candidates of p_anna are loopback, link-local or .local: only its own network can reach them > its RTCPeerConnection needs the iceServers of the welcome message`},

	{"expired", func(p *Pair) {
		noRelay(p, b)
		p.Peers[b].Refused = []Refusal{{At: after(3), Transport: "udp", Method: "Allocate", Code: 401, Reason: "credential expired at 2026-09-21T11:00:00Z"}}
	}, StageChecking, `
turn_refused: this server refused an Allocate with the name of p_bob, over udp: 401, credential expired at 2026-09-21T11:00:00Z > take the iceServers of the newest welcome, resumed or ice message, and none that were written into the page; TURNKEY_CREDENTIAL_TTL is how long they live`},

	{"wrong secret", func(p *Pair) {
		noRelay(p, b)
		p.Peers[b].Refused = []Refusal{{At: after(3), Transport: "tcp", Method: "Allocate", Code: 401, Reason: "wrong password, or a secret that this server does not have"}}
	}, StageChecking, `
turn_refused: this server refused an Allocate with the name of p_bob, over tcp: 401, wrong password, or a secret that this server does not have > the credential was made with a secret that this server does not have, or was changed on its way: who makes credentials needs the server's TURNKEY_SECRET`},

	{"refused before it was allowed", func(p *Pair) {
		p.Peers[b].Sessions = nil
		p.Peers[b].Refused = []Refusal{{At: after(2), Transport: "udp", Method: "Allocate", Code: 401, Reason: "another realm"}}
	}, StageChecking, `
nothing_wrong: nothing wrong was seen between p_anna and p_bob so far, and they are still trying`},

	{"quota", func(p *Pair) {
		noRelay(p, b)
		p.Peers[b].Refused = []Refusal{{At: after(3), Transport: "udp", Method: "Allocate", Code: 486, Reason: "too many"}}
	}, StageChecking, `
turn_refused: this server refused an Allocate with the name of p_bob, over udp: 486, too many > close RTCPeerConnections that are no longer used; the limits are TURNKEY_MAX_ALLOCATIONS, TURNKEY_MAX_ALLOCATIONS_PER_USER and TURNKEY_MAX_ALLOCATIONS_PER_IP`},

	{"quota of the token", func(p *Pair) {
		noRelay(p, b)
		p.Peers[b].Refused = []Refusal{{At: after(3), Transport: "udp", Method: "Allocate", Code: 486, Reason: "the token's quota: its turn.allocations lets all of its credentials together have 2"}}
	}, StageChecking, `
turn_refused: this server refused an Allocate with the name of p_bob, over udp: 486, the token's quota: its turn.allocations lets all of its credentials together have 2 > its token has a quota: close RTCPeerConnections that are no longer used, or make a token with more turn.allocations; a browser makes one for each TURN URL of each connection`},

	{"no Allocate", func(p *Pair) { noRelay(p, a) }, StageChecking, `
turn_unused: no Allocate with a credential of p_anna came to this server > does its RTCPeerConnection have the iceServers of the welcome message? If so, its network lets neither UDP nor TCP to TURNKEY_PORT pass`},

	{"not done yet", func(p *Pair) { noRelay(p, a); p.Sides[a].Candidates.End = false; p.Peers[a].Bound = time.Time{} }, StageChecking, `
nothing_wrong: nothing wrong was seen between p_anna and p_bob so far, and they are still trying`},

	{"nothing came", func(p *Pair) {
		noRelay(p, a)
		p.Peers[a].Bound, p.Peers[a].TURN, p.Sides[a].Candidates.Srflx = time.Time{}, false, 0
	}, StageChecking, `
no_binding_seen: no STUN Binding was seen from the address of p_anna > its network blocks UDP to this server, or its RTCPeerConnection does not have the iceServers of the welcome message`},

	{"only tcp came", func(p *Pair) {
		p.Peers[a].Bound, p.Peers[a].Sessions, p.Sides[a].Candidates.Srflx = time.Time{}, []Session{{Transport: "tcp"}}, 0
		p.Peers[a].Allocated = []Allocation{{At: after(3), Transport: "tcp"}}
	}, StageChecking, `
no_binding_seen: no STUN Binding was seen from the address of p_anna, only an Allocate over tcp > let UDP to TURNKEY_PORT of this server out of that network`},

	{"a candidate denied", func(p *Pair) { deny(p, "10.0.0.0/8 (private)", "10.0.0.5") }, StageChecking, `
peer_denied: the relay of p_anna may not reach a candidate of p_bob: 10.0.0.0/8 (private) > TURNKEY_ALLOW_PEERS of this server could permit it; it is no fault where p_bob has candidates that are public, or a relay`},

	{"denied by the operator", func(p *Pair) { deny(p, "DENY_PEERS", "10.0.0.5") }, StageChecking, `
peer_denied: the relay of p_anna may not reach a candidate of p_bob: DENY_PEERS > TURNKEY_DENY_PEERS of this server has it`},

	{"the server's own services", func(p *Pair) { deny(p, "own address outside RELAY_PORTS", "10.0.0.5") }, StageChecking, `
peer_denied: the relay of p_anna may not reach a candidate of p_bob: own address outside RELAY_PORTS > on this server's own addresses, relays reach ports in TURNKEY_RELAY_PORTS only`},

	{"denied is somebody else", func(p *Pair) { deny(p, "10.0.0.0/8 (private)", "10.0.0.9") }, StageChecking, `
nothing_wrong: nothing wrong was seen between p_anna and p_bob so far, and they are still trying`},

	{"failed with relays", func(p *Pair) { p.Sides[a].Report.State = "failed" }, StageChecking, `
checks_failed: p_anna says that no pair of candidates works with p_bob, though both have relay candidates > is TURNKEY_RELAY_PORTS open for UDP in the server's firewall? GET /readyz tells what the server's own test of it found`},

	{"failed with one relay", func(p *Pair) { p.Sides[b].Report.State, p.Sides[a].Candidates.Relay = "failed", 0 }, StageChecking, `
checks_failed: p_bob says that no pair of candidates works with p_anna, though one side has a relay candidate > is TURNKEY_RELAY_PORTS open for UDP in the server's firewall, and do the networks of both let UDP out?`},

	{"failed without relays", func(p *Pair) {
		p.Sides[b].Report.State, p.Sides[a].Candidates.Relay, p.Sides[b].Candidates.Relay = "failed", 0, 0
	}, StageChecking, `
checks_failed: p_bob says that no pair of candidates works with p_anna; neither side has a relay candidate > with a relay on one side they would most likely connect: see what kept them from one`},

	{"one connected, one failed", func(p *Pair) { p.Sides[a].Report.State, p.Sides[b].Report.State = "connected", "failed" }, StageChecking, `
checks_failed: p_bob says that no pair of candidates works with p_anna, though both have relay candidates > is TURNKEY_RELAY_PORTS open for UDP in the server's firewall? GET /readyz tells what the server's own test of it found`},

	{"left", func(p *Pair) { p.Peers[b].Gone = after(10) }, StageChecking, `
peer_left: p_bob left the room 20s ago`},

	{"away", func(p *Pair) { p.Peers[a].Away = true }, StageChecking, `
peer_away: p_anna has lost its socket to this server; what is sent to it waits for its return > is its network up, and its page open? After 60 seconds it leaves the room`},
}

func noRelay(p *Pair, i int) {
	p.Peers[i].Allocated, p.Peers[i].Sessions, p.Sides[i].Candidates.Relay = nil, nil, 0
}

// deny lets anna's relay be denied an address; bob has the candidate 10.0.0.5.
func deny(p *Pair, rule, address string) {
	p.Sides[b].Candidates.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.5")}
	r := Refusal{At: after(6), Transport: "udp", Method: "CreatePermission", Code: 403, Rule: rule, Denied: netip.MustParseAddr(address)}
	p.Peers[a].Refused = []Refusal{r, r}
}

func TestDiagnose(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := fine()
			c.spoil(&p)
			v := Diagnose(p, now)
			if got := words(v); v.Stage != c.stage || got != strings.TrimSpace(c.want) {
				t.Errorf("got %s\n%s\nwant %s%s", v.Stage, got, c.stage, c.want)
			}
		})
	}
}

func words(v Verdict) string {
	var lines []string
	for _, f := range v.Findings {
		line := f.Code + ": " + f.Message
		if f.Hint != "" {
			line += " > " + f.Hint
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// Which of the two is first in a pair must not matter.
func TestDiagnoseIsSymmetric(t *testing.T) {
	for _, c := range cases {
		p := fine()
		c.spoil(&p)
		q := Pair{Peers: [2]Peer{p.Peers[1], p.Peers[0]}, Sides: [2]Side{p.Sides[1], p.Sides[0]}}
		v, w := Diagnose(p, now), Diagnose(q, now)
		if v.Stage != w.Stage || fmt.Sprint(codes(v)) != fmt.Sprint(codes(w)) || v.Open(p) != w.Open(q) {
			t.Errorf("%s: got %s %v, the other way around %s %v", c.name, v.Stage, codes(v), w.Stage, codes(w))
		}
	}
}

func codes(v Verdict) map[string]int {
	m := map[string]int{}
	for _, f := range v.Findings {
		m[f.Code+f.Peer]++
	}
	return m
}

func TestOpen(t *testing.T) {
	open := map[string]bool{
		"nothing wrong": true, "nobody offered": true, "no answer": true, "failed with relays": true, "one connected, one failed": true,
		"no reports": false, "direct": false, "relayed": false, "connected, path unknown": false,
	}
	for _, c := range cases {
		want, judged := open[c.name]
		p := fine()
		c.spoil(&p)
		if got := Diagnose(p, now).Open(p); judged && got != want {
			t.Errorf("%s: got open %v, want %v", c.name, got, want)
		}
	}
}
