package nattest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// LoopConfig is what Loop needs. Every field is required.
type LoopConfig struct {
	// Server is where TURN is served over UDP, and Username and Password are a
	// current credential for it.
	Server             netip.AddrPort
	Username, Password string
	// Client and Peer are UDP sockets. Loop closes Client; the peer sends to the
	// relayed address, as anybody on the internet would.
	Client, Peer net.PacketConn
	// From are the addresses that the peer's packets may arrive from: a NAT on
	// the way changes them. Packets from elsewhere do not count. They are all of
	// one family, which the relay is asked to be of.
	From []netip.Addr
}

// LoopResult says how far a packet of Loop came.
type LoopResult struct {
	Relayed netip.AddrPort // where the server said that the relay is reached; invalid if it gave none
	Arrived bool           // whether the packet reached the client through it
}

// Loop makes a relay and sends a packet to it from outside: allocation and
// permissions on Client (RFC 8656), then from Peer to the relayed address until
// it comes back to Client as a Data indication, for 2.5 s at most. The error
// says why there was no relay to send to; that nothing arrived is none.
func Loop(ctx context.Context, c LoopConfig) (LoopResult, error) {
	a := &allocation{
		link:   &packetLink{PacketConn: c.Client, server: c.Server},
		dialog: dialog{username: c.Username, password: c.Password},
	}
	if len(c.From) > 0 && c.From[0].Is6() {
		a.family = familyIPv6
	}
	defer a.release(ctx)
	// Cut off in the middle, it would leave an allocation that nobody knows of.
	if f := a.allocate(context.WithoutCancel(ctx), func(string) {}); f != nil {
		return LoopResult{}, fmt.Errorf("make a relay on %s: %w", c.Server, f)
	}
	r := LoopResult{Relayed: a.relayed}
	for _, from := range c.From {
		if f := a.permit(ctx, netip.AddrPortFrom(from, 0)); f != nil {
			return r, fmt.Errorf("let %s send to the relay: %w", from, f)
		}
	}
	test := newPackets()
	err := repeat(ctx, &packetLink{PacketConn: c.Peer, server: a.relayed}, a,
		func(int) ([]byte, error) { return test.packet(0, 0), nil },
		func(raw []byte) bool { n, ok := a.from(raw, test, 0, c.From...); return ok && n == 0 })
	r.Arrived = err == nil
	if err != nil && ctx.Err() != nil {
		return r, ctx.Err()
	}
	return r, nil
}

// Reflexive asks a STUN server where it sees conn (Binding, RFC 8489), for 2.5 s
// at most. It does not close conn.
func Reflexive(ctx context.Context, conn net.PacketConn, server netip.AddrPort) (netip.AddrPort, error) {
	b, err := askBinding(ctx, conn, server)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("ask %s: %w", server, err)
	}
	return b.mapped, nil
}

// noAnswer turns a deadline into words.
func noAnswer(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || timedOut(err) {
		return errors.New("no answer")
	}
	return err
}
