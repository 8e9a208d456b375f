package nattest

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// familyIPv6 asks for a relay of IPv6 (REQUESTED-ADDRESS-FAMILY, RFC 8656
// section 18.6).
const familyIPv6 = 2

// releaseWait is how long the answer to the last request is waited for.
const releaseWait = 200 * time.Millisecond

// fault is a stage that failed.
type fault struct {
	stage  string
	code   int            // STUN error code, 0 none
	at     netip.AddrPort // of the server, where it was connected to
	reason string
	err    error
}

func (f *fault) Error() string { return f.stage + ": " + f.reason }

// allocation is one TURN allocation of our own. One goroutine uses it.
type allocation struct {
	link
	dialog
	relayed netip.AddrPort // XOR-RELAYED-ADDRESS
	mapped  netip.AddrPort // XOR-MAPPED-ADDRESS: where the server sees us
	family  byte           // of the relay (RFC 8656 section 18.6), 0 is the server's choice
	holds   bool           // there is something to release
}

// allocate goes through challenge and Allocate (RFC 8656 section 7). step is
// told of each stage that worked.
func (a *allocation) allocate(ctx context.Context, step func(stage string)) *fault {
	attrs := []stun.Setter{requestedTransportUDP()}
	if a.family != 0 {
		attrs = append(attrs, stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Length: 4, Value: []byte{a.family, 0, 0, 0}})
	}
	_, r, err := a.once(ctx, stun.MethodAllocate, attrs...)
	switch {
	case err != nil:
		return &fault{stage: "challenge", reason: plain(err), err: err}
	case r.ok:
		a.holds = true
		return &fault{stage: "challenge", reason: "the server relays for anybody: it gave an allocation to a request without credentials"}
	case !r.challenge:
		return &fault{stage: "challenge", code: r.code, reason: "the server answers the first request with " + r.said() + ", not with a challenge"}
	}
	step("challenge")
	m, f := a.do(ctx, "allocate", stun.MethodAllocate, attrs...)
	a.holds = f == nil || f.code == 0 // what was not answered may have been done
	if f != nil {
		return f
	}
	var ok bool
	if a.relayed, ok = xorAddr(m, stun.AttrXORRelayedAddress); !ok {
		return &fault{stage: "allocate", reason: "the server names no relayed address"}
	}
	a.mapped, _ = xorAddr(m, stun.AttrXORMappedAddress)
	step("allocate")
	return nil
}

// permit asks for a permission (RFC 8656 section 9).
func (a *allocation) permit(ctx context.Context, p netip.AddrPort) *fault {
	_, f := a.do(ctx, "permission", stun.MethodCreatePermission, peer(p))
	return f
}

// bind binds a channel to a peer (RFC 8656 section 11).
func (a *allocation) bind(ctx context.Context, p netip.AddrPort) *fault {
	_, f := a.do(ctx, "channel", stun.MethodChannelBind, channelNumber(), peer(p))
	if f == nil {
		a.bound = p
	}
	return f
}

// send sends a packet to a peer, through the channel where one is bound to it.
func (a *allocation) send(to netip.AddrPort, payload []byte) error {
	if to == a.bound {
		return a.write(channelData(payload))
	}
	m, err := indication(to, payload)
	if err != nil {
		return err
	}
	return a.write(m.Raw)
}

// release gives the allocation back, without insisting.
func (a *allocation) release(ctx context.Context) {
	if a.holds {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWait)
		defer cancel()
		_, _ = a.do(ctx, "release", stun.MethodRefresh, lifetime(0)) // the server forgets it by itself, later
	}
	a.Close()
}

// do makes one authenticated request, again if the nonce had become stale.
func (a *allocation) do(ctx context.Context, stage string, method stun.Method, attrs ...stun.Setter) (*stun.Message, *fault) {
	for again := true; ; again = false {
		m, r, err := a.once(ctx, method, attrs...)
		switch {
		case err != nil:
			return nil, &fault{stage: stage, reason: plain(err), err: err}
		case r.ok:
			return m, nil
		case r.challenge && again:
			continue
		}
		return nil, &fault{stage: stage, code: r.code, reason: "the server answers " + r.said()}
	}
}

// once makes one transaction.
func (a *allocation) once(ctx context.Context, method stun.Method, attrs ...stun.Setter) (m *stun.Message, r reply, err error) {
	req, err := a.request(method, attrs...)
	if err != nil {
		return nil, reply{}, err
	}
	err = repeat(ctx, a, a, func(n int) ([]byte, error) {
		if n > 0 && !a.lossy() {
			return nil, nil
		}
		return req.Raw, nil
	}, func(raw []byte) (done bool) {
		m, r, done = a.answer(req, raw)
		return done
	})
	return m, r, err
}

var errNoURL = errors.New("the server offers no TURN URL")
