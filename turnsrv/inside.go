package turnsrv

import (
	"net/netip"
	"sync/atomic"
)

// inside says which relay ports of one address family are in use, and by whom.
// Between two of them packets do not leave the process: that works behind a 1:1
// NAT that does not send packets back, and with the relay ports closed in the
// firewall.
type inside struct {
	first uint16
	at    []atomic.Pointer[session] // by port
}

func newInside(r PortRange) *inside {
	if r.Max < r.Min {
		return &inside{}
	}
	return &inside{first: r.Min, at: make([]atomic.Pointer[session], int(r.Max-r.Min)+1)}
}

func (i *inside) slot(port uint16) *atomic.Pointer[session] {
	if port < i.first || int(port-i.first) >= len(i.at) {
		return nil
	}
	return &i.at[port-i.first]
}

// enter makes s the owner of its port, leave ends that.
func (i *inside) enter(s *session) {
	if slot := i.slot(s.Relay.Port()); slot != nil {
		slot.Store(s)
	}
}

func (i *inside) leave(s *session) {
	if slot := i.slot(s.Relay.Port()); slot != nil {
		slot.CompareAndSwap(s, nil)
	}
}

// find returns the session that has the relayed transport address to, or nil.
func (i *inside) find(to netip.AddrPort) *session {
	slot := i.slot(to.Port())
	if slot == nil {
		return nil
	}
	if s := slot.Load(); s != nil && s.Relay == to {
		return s
	}
	return nil
}
