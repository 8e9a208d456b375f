package signal

import (
	"sync"
)

// hub is a room with its lock and the sockets of its peers. Nothing under the
// lock waits: a delivery goes into a queue, or ends the socket it is for.
type hub struct {
	refs int // sockets that hold the hub; under Server.mu

	mu    sync.Mutex
	room  room
	conns map[string]*conn
}

func (h *hub) join(c *conn, m Message, ice issued) *Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ds, err := h.room.join(peer{c.id, m.Name, m.Meta}, m.ID, ice)
	if err != nil {
		return err
	}
	h.conns[c.id] = c
	h.deliver(ds)
	return nil
}

func (h *hub) relay(from string, m Message) *Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ds, err := h.room.relay(from, m)
	h.deliver(ds)
	return err
}

func (h *hub) leave(id string, why reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, id)
	h.deliver(h.room.leave(id, why))
}

// deliver hands frames to the queues. A peer whose queue is full leaves at
// once, which others are told, which may fill their queues, and so on.
func (h *hub) deliver(ds []delivery) {
	for len(ds) > 0 {
		d := ds[0]
		ds = ds[1:]
		c := h.conns[d.to]
		if c == nil || c.out.push(d.frame) {
			continue
		}
		delete(h.conns, d.to)
		c.end(slow())
		ds = append(ds, h.room.leave(d.to, leftSlow)...)
	}
}
