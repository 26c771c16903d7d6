package agentpush

import (
	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// router brings messages to their minions' channels here, or to the peers that hold
// the minions.
type router struct {
	*base
	channels  *channels
	locations locations
	links     *links
	pumps     *pumps
	reports   *reports
}

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
func (r *router) deliver(msgs []*message) {
	for id, group := range byMinion(msgs, (*message).minion) {
		r.deliverTo(id, group)
	}
}

func (r *router) deliverTo(id job.MinionID, msgs []*message) {
	c := r.channels.get(id, false)
	if c == nil || c.session == nil {
		if c != nil {
			c.mu.Unlock()
		}
		// No session here: it may be at a peer. Else the messages wait here.
		if node := r.locations.node(id); node != "" && node != r.cfg.Node {
			if msgs = r.forward(node, msgs); len(msgs) == 0 {
				return
			}
		}
		c = r.channels.get(id, true)
	}
	ends := c.put(msgs)
	r.pumps.kick(c)
	c.mu.Unlock()
	r.reports.finish(ends)
}

// forward hands messages to a peer and returns those that stay here.
func (r *router) forward(node job.NodeID, msgs []*message) []*message {
	var stay, send []*message
	for _, m := range msgs {
		if m.hops < maxHops {
			send = append(send, m)
		} else {
			stay = append(stay, m)
		}
	}
	if len(send) > 0 {
		stay = append(stay, r.links.to(node).push(send)...)
	}
	return stay
}

// moved looks after a minion whose place has changed: a session here that a
// newer one has replaced ends, and what waits here goes after the minion.
func (r *router) moved(id job.MinionID) {
	c := r.channels.get(id, false)
	if c == nil {
		return
	}
	if s := c.session; s != nil {
		c.mu.Unlock()
		if node := r.locations.node(id); node != r.cfg.Node && node != "" {
			s.close(errElsewhere) // left, which calls moved again, follows
		}
		return
	}
	waits := c.topic.len() > 0
	c.mu.Unlock()
	node := r.locations.node(id)
	if !waits || node == "" || node == r.cfg.Node {
		return
	}
	c = r.channels.get(id, true)
	if c.session != nil {
		c.mu.Unlock()
		return
	}
	msgs := c.topic.drain()
	c.mu.Unlock()
	if rest := r.forward(node, msgs); len(rest) > 0 {
		c = r.channels.get(id, true)
		ends := c.put(rest)
		r.pumps.kick(c)
		c.mu.Unlock()
		r.reports.finish(ends)
		return
	}
	r.channels.forget(c)
}

// ack brings acknowledgements to the sessions here, or to peers; viaPeer: they
// came from one and go no further.
func (r *router) ack(ids []*agentpb.TaskID, viaPeer bool) {
	minion := func(t *agentpb.TaskID) job.MinionID { return job.MinionID(t.GetMinion()) }
	for id, group := range byMinion(ids, minion) {
		if c := r.channels.get(id, false); c != nil {
			s := c.session
			if s != nil {
				s.acks = append(s.acks, group[:min(len(group), max(maxAcks-len(s.acks), 0))]...)
				r.pumps.kick(c)
			}
			c.mu.Unlock()
			if s != nil {
				continue
			}
		}
		if node := r.locations.node(id); !viaPeer && node != "" && node != r.cfg.Node {
			r.links.to(node).pushAcks(group)
		}
	}
}
