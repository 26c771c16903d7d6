package agentpush

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// A minion is uncontrollable when it is connected nowhere, as one is whose
// certificate was revoked, or when the node that
// holds its session says so: it is in trouble by its own word, its clock is off,
// it is too old, or it does not take what it is offered. It gets no orders then,
// and is told of wherever targets match it. It is back by itself when that is
// over: nobody has to release it.

// strikes is how many orders in a row may not be taken.
const strikes = 5

// probeEvery is how often a minion that took nothing is tried.
const probeEvery = 5 * time.Second

// trouble is what the node holds against one of its sessions. The channel's
// mutex guards it.
type trouble struct {
	// said is what the minion says itself, skew how far its clock is off.
	said []string
	skew time.Duration
	// missed counts orders in a row that ended without being taken; probed is
	// when it was tried last since.
	missed int
	probed int64
	// reason is what the cluster is told, since when; empty: nothing.
	reason string
	since  int64
}

// judge works out whether the minion is uncontrollable.
func (c Config) judge(t *trouble, version string, stalled time.Duration) string {
	var why []string
	if stalled > 0 {
		why = append(why, fmt.Sprintf("has not taken an order for more than %v", c.StallAfter))
	} else if t.missed >= strikes {
		why = append(why, fmt.Sprintf("%d orders in a row did not reach it", strikes))
	}
	why = append(why, t.said...)
	if off := max(t.skew, -t.skew); off > c.MaxSkew {
		why = append(why, fmt.Sprintf("its clock is more than %v off", c.MaxSkew))
	}
	if c.MinVersion != "" && job.CompareNames(strings.TrimPrefix(version, "v"), strings.TrimPrefix(c.MinVersion, "v")) < 0 {
		why = append(why, fmt.Sprintf("its release, %s, is older than %s", cmp.Or(version, "unknown"), c.MinVersion))
	}
	return strings.Join(why, "; ")
}

// health tells the cluster which of the minions here are in trouble.
type health struct {
	*base
	locals   locals
	presence *presence
	pumps    *pumps
}

// assess tells the cluster when a session's trouble has changed. The caller
// holds c.mu.
func (h *health) assess(c *channel, now int64) {
	s := c.session
	if s == nil {
		return
	}
	var stalled time.Duration
	if c.offered && now-c.offeredAt > int64(h.cfg.StallAfter) {
		stalled = time.Duration(now - c.offeredAt)
	}
	reason := h.cfg.judge(&s.trouble, s.version, stalled)
	if reason == s.trouble.reason {
		return
	}
	if s.trouble.reason == "" || reason == "" {
		s.trouble.since = now
	}
	s.trouble.reason = reason
	p := Present{ID: c.id, Session: s.epoch, Opened: s.opened.UTC(), Trouble: reason}
	if reason != "" {
		p.Since = time.Unix(0, s.trouble.since).UTC()
	}
	h.locals.setTrouble(p)
	h.presence.update(p)
}

// beat takes a minion's word on how it is.
func (h *health) beat(s *session, b *agentpb.Beat) {
	now := h.now()
	s.clock.measure(b.GetWallClock(), now.UnixNano())
	s.clock.read(b)
	h.locals.setRunning(s.c.id, int(b.GetRunning()))
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.clock.lease.Heard(time.Duration(b.GetClock()), h.clock())
	said := b.GetTrouble()
	skew := time.Duration(b.GetClockSkew()) * time.Millisecond
	if s.trouble.skew == skew && slices.Equal(said, s.trouble.said) {
		return
	}
	// Others share the value that tells of it: what comes too often is said again
	// by a later beat.
	if !s.beats.use(now) {
		return
	}
	s.trouble.said, s.trouble.skew = said, skew
	if s.c.session == s {
		h.assess(s.c, now.UnixNano())
	}
}

// strike counts orders that ended without being taken though the minion is
// connected. The caller holds c.mu.
func (c *channel) strike(ends []ending) {
	if c.session == nil {
		return
	}
	for i := range ends {
		if ends[i].m.isOrder() {
			c.session.trouble.missed++
		}
	}
}

// probe tries a minion that has not taken its last orders, with an offer that
// holds nothing. The caller holds c.mu.
func (h *health) probe(c *channel, now int64) {
	s := c.session
	if s == nil || s.trouble.missed < strikes || c.offered || now-s.trouble.probed < int64(probeEvery) {
		return
	}
	s.trouble.probed = now
	h.offerNothing(c)
}

// offerNothing asks a minion for a sign of life. The caller holds c.mu, and
// nothing is offered.
func (h *health) offerNothing(c *channel) {
	c.quiet.Store(false)
	c.offered, c.slot, c.offeredAt = true, nil, h.now().UnixNano()
	c.seq++
	c.session.control = append(c.session.control, &agentpb.ToMinion{Body: &agentpb.ToMinion_Offer{Offer: &agentpb.Offer{Seq: c.seq}}})
	h.pumps.kick(c)
}
