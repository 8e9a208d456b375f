package nattest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pion/stun/v3"
)

// hint is the likely fix of a failed stage of a TURN URL.
func hint(f *fault, u turnURL, facts *facts, now time.Time) string {
	proto := strings.ToUpper(u.Proto.String())
	switch f.stage {
	case "dns":
		return "check TURNKEY_HOST and its DNS records"
	case "connect":
		if errors.Is(f.err, syscall.ECONNREFUSED) {
			return fmt.Sprintf("nothing listens on %s port %d there: is TURN over %s switched on, and the port published?", proto, u.Port, proto)
		}
		return fmt.Sprintf("open %s port %d in the server's firewall and its cloud's", proto, u.Port)
	case "tls":
		return hintCertificate(f.err, Clean(u.Host))
	case "challenge", "allocate":
		return hintAllocate(f, u, facts, now)
	case "permission", "channel":
		if f.code == 403 || f.code == 401 {
			return "the server does not allow its own relay addresses as peers: see TURNKEY_DENY_PEERS and TURNKEY_ALLOW_PEERS"
		}
	case "data":
		return "the server must reach its own relay ports at this address: open " + facts.relayPorts() + ", and check TURNKEY_PUBLIC_IP"
	}
	return ""
}

func hintAllocate(f *fault, u turnURL, facts *facts, now time.Time) string {
	switch f.code {
	case 0:
		if f.err == nil {
			return ""
		}
		return hintSilence(f, u, facts)
	case 300:
		return "the server sends its clients to another one"
	case 400, 401: // some servers answer a wrong password with 400
		if f.stage == "allocate" {
			return hintCredential(u.username, facts, now)
		}
	case 437:
		return "an older allocation is still there; try again in a minute"
	case 440, 443:
		return "the server has no relay address of this family: see TURNKEY_PUBLIC_IP"
	case 486:
		return "the user, its address or the token has as many allocations as it may: use another label, wait for old calls to end, or raise TURNKEY_MAX_ALLOCATIONS_PER_USER or _PER_IP"
	case 508:
		return "no relay port is free: widen TURNKEY_RELAY_PORTS"
	}
	return ""
}

// hintSilence explains a request without an answer by what was answered.
func hintSilence(f *fault, u turnURL, facts *facts) string {
	switch udp := timedOut(f.err) && u.Proto == stun.ProtoTypeUDP; {
	case udp && f.stage == "allocate":
		return "the first request was answered, so the port is open: see the server's log; what is on the way may drop longer packets"
	case udp && slices.Contains(facts.heard, f.at):
		return fmt.Sprintf("UDP port %d is open, for STUN is answered there: what is on the way drops TURN, or TURN is switched off", u.Port)
	case udp:
		return fmt.Sprintf("open UDP port %d in the server's firewall and its cloud's; UDP may also be blocked on the way", u.Port)
	}
	return fmt.Sprintf("does TURN listen on port %d, or something else?", u.Port)
}

// clockMatters is the difference of clocks from which on the clocks are the
// first suspects.
const clockMatters = 5 * time.Minute

// hintCredential explains a refused credential: expired by the server's clock
// or this machine's, or signed with another secret.
func hintCredential(username string, facts *facts, now time.Time) string {
	clock := "this machine's clock"
	if !facts.date.IsZero() {
		now, clock = now.Add(facts.skew), "the HTTP server's clock"
	}
	first, last := "", ""
	if skew := facts.skew.Abs(); !facts.date.IsZero() && skew >= 30*time.Second {
		off := fmt.Sprintf("this machine's clock differs from the HTTP server's by %s", span(skew))
		if last = "; " + off; skew >= clockMatters {
			first, last = off+": set the wrong one right first; ", ""
		}
	}
	digits, _, _ := strings.Cut(username, ":")
	unix, err := strconv.ParseInt(digits, 10, 64)
	if err == nil && time.Unix(unix, 0).Before(now) {
		return fmt.Sprintf("%sthe credential expired at %s by %s: check the clocks and TURNKEY_CREDENTIAL_TTL%s",
			first, time.Unix(unix, 0).UTC().Format(time.RFC3339), clock, last)
	}
	return first + "wrong secret: TURNKEY_SECRET must be the same where credentials are made and where TURN runs (or the TURN server's clock is ahead, and it takes them as expired)" + last
}
