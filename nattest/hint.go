package nattest

import (
	"errors"
	"fmt"
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
		return fmt.Sprintf("the server needs a certificate valid for %s", clean(u.Host))
	case "challenge", "allocate":
		return hintAllocate(f, u, facts, now)
	case "permission":
		if f.code == 403 || f.code == 401 {
			return "the server does not allow its own relay addresses as peers: see TURNKEY_DENY_PEERS and TURNKEY_ALLOW_PEERS"
		}
	case "relay":
		return "the server must reach its own relay ports at this address: open UDP TURNKEY_RELAY_PORTS (49160-49359), and check TURNKEY_PUBLIC_IP"
	}
	return ""
}

func hintAllocate(f *fault, u turnURL, facts *facts, now time.Time) string {
	switch f.code {
	case 0:
		if f.err == nil {
			return ""
		}
		if timedOut(f.err) && u.Proto == stun.ProtoTypeUDP {
			return fmt.Sprintf("open UDP port %d in the server's firewall and its cloud's; UDP may also be blocked on the way", u.Port)
		}
		return fmt.Sprintf("does TURN listen on port %d, or something else?", u.Port)
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
		return "the quota of allocations is used up: see the server's quota settings, or wait for old calls to end"
	case 508:
		return "no relay port is free: widen TURNKEY_RELAY_PORTS"
	}
	return ""
}

// hintCredential explains a refused credential: expired by the server's clock
// or this machine's, or signed with another secret.
func hintCredential(username string, facts *facts, now time.Time) string {
	clock := "this machine's clock"
	if !facts.date.IsZero() {
		now, clock = now.Add(facts.skew), "the HTTP server's clock"
	}
	off := ""
	if skew := facts.skew.Abs(); !facts.date.IsZero() && skew >= 30*time.Second {
		off = fmt.Sprintf("; this machine's clock differs from the HTTP server's by %s", skew)
	}
	digits, _, _ := strings.Cut(username, ":")
	unix, err := strconv.ParseInt(digits, 10, 64)
	if err == nil && time.Unix(unix, 0).Before(now) {
		return fmt.Sprintf("the credential expired at %s by %s: check the clocks and TURNKEY_CREDENTIAL_TTL%s",
			time.Unix(unix, 0).UTC().Format(time.RFC3339), clock, off)
	}
	return "wrong secret: TURNKEY_SECRET must be the same where credentials are made and where TURN runs (or the TURN server's clock is ahead, and it takes them as expired)" + off
}
