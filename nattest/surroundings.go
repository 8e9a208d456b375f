package nattest

import (
	"context"
	"net/netip"
	"slices"

	"turnkey/nattest/around"
)

// look looks at what is around the NAT, nil without leave to.
func (c *Config) look(ctx context.Context, t target, f facts, eps []netip.AddrPort, addrs []netip.Addr) *around.Report {
	if c.Around == nil {
		return nil
	}
	// A token is for its own server.
	own := slices.DeleteFunc(slices.Clone(eps), func(ep netip.AddrPort) bool { return !slices.Contains(addrs, ep.Addr()) })
	return around.Look(ctx, around.Config{
		Host: t.host, Servers: own, API: f.base != "", Token: f.doc.token,
		ListenPacket: c.ListenPacket, DialContext: c.DialContext, System: *c.Around,
	})
}

// surroundings puts what was found there beside what STUN and HTTP saw.
func (r *Report) surroundings(found *around.Report, f facts) {
	if found == nil {
		return
	}
	seen := around.Seen{HTTP: f.doc.seen}
	for _, m := range slices.Concat(r.V4.Mapped, r.V6.Mapped) {
		seen.Mapped = append(seen.Mapped, m.Address)
	}
	found.Conclude(seen)
	r.Around = found
}
