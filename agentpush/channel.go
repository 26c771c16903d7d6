package agentpush

import (
	"sync"
	"sync/atomic"

	"github.com/carillon-cron/carillon/internal/clock"
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

// pending reports whether a frame can be sent now.
func (c *channel) pending() bool {
	return len(c.session.control) > 0 || len(c.session.acks) > 0 || !c.offered && c.topic.len() > 0
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

// clock returns what is known of the clock of the channel's minion, or nil.
func (c *channel) clock() *clock.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return nil
	}
	return c.session.clock.reading.Load()
}
