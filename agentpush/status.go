package agentpush

import (
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Status is what a Hub holds now.
type Status struct {
	// Connected counts sessions here; Known and Online count minions of the
	// whole cluster.
	Connected int `json:"connected"`
	Known     int `json:"known"`
	Online    int `json:"online"`
	// Queued and InFlight count messages that wait here, and that are offered;
	// Forwarded those that are on their way to peers, or for which peers answer.
	Queued    int    `json:"queued"`
	InFlight  int    `json:"inFlight"`
	Forwarded int    `json:"forwarded"`
	Dropped   uint64 `json:"dropped"`
	// Minions are those with a session or with messages here, sorted by id.
	Minions []MinionStatus `json:"minions"`
}

// MinionStatus is one minion's topic and channel.
type MinionStatus struct {
	ID        job.MinionID `json:"id"`
	Connected bool         `json:"connected"`
	Session   int64        `json:"session,omitempty"`
	Queued    int          `json:"queued"`
	InFlight  int          `json:"inFlight"`
	// Oldest is how long the oldest message has waited.
	Oldest  time.Duration `json:"oldest"`
	Dropped uint64        `json:"dropped"`
}

// Status tells what the hub holds now.
func (h *Hub) Status() Status {
	var st Status
	st.Known, st.Online = h.inventory.count()
	channels := h.allChannels()
	for _, l := range h.allLinks() {
		l.mu.Lock()
		st.Forwarded += len(l.queue) + len(l.unsettled)
		l.mu.Unlock()
	}
	now := time.Now().UnixNano()
	for _, c := range channels {
		c.mu.Lock()
		m := MinionStatus{ID: c.id, Queued: c.topic.len(), InFlight: len(c.slot), Dropped: c.dropped}
		if c.session != nil {
			m.Connected, m.Session = true, c.session.epoch
			st.Connected++
		}
		at := c.topic.oldest()
		if len(c.slot) > 0 && (at == 0 || c.slot[0].since < at) {
			at = c.slot[0].since
		}
		if at != 0 {
			m.Oldest = time.Duration(now - at)
		}
		c.mu.Unlock()
		st.Queued += m.Queued
		st.InFlight += m.InFlight
		st.Dropped += m.Dropped
		st.Minions = append(st.Minions, m)
	}
	slices.SortFunc(st.Minions, func(a, b MinionStatus) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return st
}
