package agentpush

import (
	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// byMinion groups items, keeping their order within a group.
func byMinion[T any](items []T, minion func(T) job.MinionID) map[job.MinionID][]T {
	groups := make(map[job.MinionID][]T, 1)
	for _, it := range items {
		id := minion(it)
		groups[id] = append(groups[id], it)
	}
	return groups
}

// deliver brings messages to their minions' channels here, or to the peers that
// hold the minions.
func (h *Hub) deliver(msgs []*message) {
	for id, group := range byMinion(msgs, (*message).minion) {
		h.deliverTo(id, group)
	}
}

func (h *Hub) deliverTo(id job.MinionID, msgs []*message) {
	c := h.channelOf(id, false)
	if c == nil || c.session == nil {
		if c != nil {
			c.mu.Unlock()
		}
		// No session here: it may be at a peer. Else the messages wait here.
		if node := h.inventory.place(id); node != "" && node != h.cfg.Node {
			if msgs = h.forward(node, msgs); len(msgs) == 0 {
				return
			}
		}
		c = h.channelOf(id, true)
	}
	ends := c.put(msgs)
	h.kick(c)
	c.mu.Unlock()
	h.finish(ends)
}

// forward hands messages to a peer and returns those that stay here.
func (h *Hub) forward(node job.NodeID, msgs []*message) []*message {
	var stay, send []*message
	for _, m := range msgs {
		if m.hops < maxHops {
			send = append(send, m)
		} else {
			stay = append(stay, m)
		}
	}
	if len(send) > 0 {
		stay = append(stay, h.linkTo(node).push(send)...)
	}
	return stay
}

// moved looks after a minion whose place has changed: a session here that a
// newer one has replaced ends, and what waits here goes after the minion.
func (h *Hub) moved(id job.MinionID) {
	c := h.channelOf(id, false)
	if c == nil {
		return
	}
	if s := c.session; s != nil {
		c.mu.Unlock()
		if node := h.inventory.place(id); node != h.cfg.Node && node != "" {
			s.close(errElsewhere) // left, which calls moved again, follows
		}
		return
	}
	waits := c.topic.len() > 0
	c.mu.Unlock()
	node := h.inventory.place(id)
	if !waits || node == "" || node == h.cfg.Node {
		return
	}
	c = h.channelOf(id, true)
	if c.session != nil {
		c.mu.Unlock()
		return
	}
	msgs := c.topic.drain()
	c.mu.Unlock()
	if rest := h.forward(node, msgs); len(rest) > 0 {
		c = h.channelOf(id, true)
		ends := c.put(rest)
		h.kick(c)
		c.mu.Unlock()
		h.finish(ends)
		return
	}
	h.forget(c)
}

// ack brings acknowledgements to the sessions here, or to peers; viaPeer: they
// came from one and go no further.
func (h *Hub) ack(ids []*agentpb.TaskID, viaPeer bool) {
	minion := func(t *agentpb.TaskID) job.MinionID { return job.MinionID(t.GetMinion()) }
	for id, group := range byMinion(ids, minion) {
		if c := h.channelOf(id, false); c != nil {
			s := c.session
			if s != nil {
				s.acks = append(s.acks, group[:min(len(group), max(maxAcks-len(s.acks), 0))]...)
				h.kick(c)
			}
			c.mu.Unlock()
			if s != nil {
				continue
			}
		}
		if node := h.inventory.place(id); !viaPeer && node != "" && node != h.cfg.Node {
			h.linkTo(node).pushAcks(group)
		}
	}
}
