package agentpush

import (
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// channel is one minion's way out of this node: its topic, and the one offer
// that is with the minion. It exists while the minion is connected here, or
// while messages wait for it.
//
// No goroutine is parked on it. Whoever gives it work, or frees its slot, calls
// kick, which starts a pump when none runs; the pump ends when nothing can be
// sent (see doc.go, Goroutines).
type channel struct {
	id job.MinionID
	// quiet: nothing waits, is offered or is wrong, as the last sweep saw it.
	quiet atomic.Bool

	mu sync.Mutex
	// mu guards what follows.

	topic topic
	// offered: an offer, numbered seq, is with the minion; slot is its content.
	// A probe is an offer without content.
	offered   bool
	offeredAt int64
	seq       uint64
	slot      []*message
	// session is the live one, nil when the minion is not connected here.
	session *session
	dropped uint64
	taken   uint64
	// gone: the hub has forgotten this channel; look it up again.
	gone bool
}

// channelOf returns the minion's channel, locked. Without create it returns nil
// when there is none.
func (h *Hub) channelOf(id job.MinionID, create bool) *channel {
	for {
		h.mu.RLock()
		c := h.channels[id]
		h.mu.RUnlock()
		if c == nil {
			if !create {
				return nil
			}
			h.mu.Lock()
			if c = h.channels[id]; c == nil {
				c = &channel{id: id, topic: h.topics.topic()}
				h.channels[id] = c
			}
			h.mu.Unlock()
		}
		c.mu.Lock()
		if !c.gone {
			return c
		}
		c.mu.Unlock()
	}
}

// forget drops the channel when nothing needs it. The caller holds neither lock.
func (h *Hub) forget(c *channel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil && c.topic.len() == 0 && !c.gone {
		c.gone = true
		delete(h.channels, c.id)
	}
}

// put queues messages; the caller holds c.mu.
func (c *channel) put(msgs []*message) []ending {
	var ends []ending
	c.quiet.Store(false)
	for _, m := range msgs {
		for _, e := range c.topic.push(m) {
			if e.state != endNeedless {
				c.dropped++
			}
			ends = append(ends, e)
		}
	}
	return ends
}

// kick starts a pump if there is something to send and none runs; the caller
// holds c.mu.
func (h *Hub) kick(c *channel) {
	s := c.session
	if s == nil || s.sending || !c.pending() {
		return
	}
	s.sending = true
	if !h.spawn(func() { h.pump(c, s) }) {
		s.sending = false
	}
}

// pending reports whether a frame can be sent now.
func (c *channel) pending() bool {
	return len(c.session.control) > 0 || len(c.session.acks) > 0 || !c.offered && c.topic.len() > 0
}

// pump sends to the minion until there is nothing that may be sent. One pump
// runs per session at a time, so a minion that does not read holds up nobody
// else (I5).
func (h *Hub) pump(c *channel, s *session) {
	for {
		c.mu.Lock()
		if c.session != s {
			s.sending = false
			c.mu.Unlock()
			return
		}
		frame, ends := h.frame(c, h.now().UnixNano())
		if frame == nil {
			s.sending = false
		}
		c.mu.Unlock()
		h.finish(ends)
		if frame == nil {
			return
		}
		if err := s.stream.Send(frame); err != nil {
			s.close(err)
			return
		}
		if t := frame.GetText(); t != nil {
			s.texts.give(sizeOf(t))
		}
	}
}

// frame returns what is to be sent next, nil if nothing: control frames first
// (the welcome is the first of them), then acknowledgements, then the next
// offer if the slot is free (I3). The caller holds c.mu.
func (h *Hub) frame(c *channel, now int64) (*agentpb.ToMinion, []ending) {
	s := c.session
	if len(s.control) > 0 {
		f := s.control[0]
		if s.control = s.control[1:]; len(s.control) == 0 {
			s.control = nil
		}
		return f, nil
	}
	if n := min(len(s.acks), ackBatch); n > 0 {
		f := &agentpb.ToMinion{Body: &agentpb.ToMinion_Ack{Ack: &agentpb.Ack{Tasks: s.acks[:n:n]}}}
		if s.acks = s.acks[n:]; len(s.acks) == 0 {
			s.acks = nil
		}
		return f, nil
	}
	if c.offered {
		return nil, nil
	}
	msgs, ends := c.topic.take(h.cfg.OfferMax, h.cfg.OfferBytes, now, h.deps.Clock())
	if len(msgs) == 0 {
		return nil, ends
	}
	c.offered, c.slot, c.offeredAt = true, msgs, now
	c.seq++
	h.met.offers.Inc()
	o := newOffer(c.seq, msgs)
	if by, ok := s.clock.Bound(h.deps.Clock()); ok {
		o.Ahead = proto.Int64(int64(by))
	}
	return &agentpb.ToMinion{Body: &agentpb.ToMinion_Offer{Offer: o}}, ends
}

func newOffer(seq uint64, msgs []*message) *agentpb.Offer {
	o := &agentpb.Offer{Seq: seq}
	for _, m := range msgs {
		switch b := m.body.(type) {
		case *agentpb.Order:
			o.Orders = append(o.Orders, b)
		case *agentpb.Question:
			o.Questions = append(o.Questions, b)
		case *agentpb.Cancel:
			o.Cancels = append(o.Cancels, b)
		}
	}
	return o
}

// taken frees the slot: the minion answers for the offer's content now.
func (h *Hub) taken(c *channel, s *session, seq uint64) {
	c.mu.Lock()
	if c.session != s || !c.offered || c.seq != seq {
		c.mu.Unlock()
		return
	}
	msgs := c.slot
	c.offered, c.slot = false, nil
	c.taken += uint64(len(msgs))
	if t := &s.trouble; t.missed > 0 || t.reason != "" {
		t.missed = 0
		h.assess(c, h.now().UnixNano())
	}
	h.kick(c)
	c.mu.Unlock()
	h.met.taken.Add(float64(len(msgs)))
	h.pace.total.Add(uint64(len(msgs)))
	for _, m := range msgs {
		h.settled(m)
	}
}

// detach takes the session off the channel, if it is still there; what was
// offered and not taken goes back into the topic (I4). The caller holds c.mu.
func (c *channel) detach(s *session) (bool, []ending) {
	if c.session != s {
		return false, nil
	}
	c.session = nil
	if !c.offered {
		return true, nil
	}
	ends := c.topic.restore(c.slot)
	c.offered, c.slot = false, nil
	c.dropped += uint64(len(ends))
	return true, ends
}

// overdue ends the orders that lie offered and not taken too long after their
// time. They stay in the slot, marked told: the minion still has to take it. The
// caller holds c.mu.
func (c *channel) overdue(now int64) []ending {
	var ends []ending
	for _, m := range c.slot {
		if !m.told && m.isOrder() && !m.orphaned() && m.until+int64(grace) <= now {
			m.told = true
			ends = append(ends, ending{m, job.StateIndeterminate, "was offered to minion " + string(c.id) + ", which has not said whether it accepted the order"})
		}
	}
	return ends
}
