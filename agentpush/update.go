package agentpush

import (
	"bytes"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// Update is a release to which minions are told to come. See package release
// for what its bytes are; the hub does not look into them.
type Update struct {
	// Release is the number of the manifest, and Signed the manifest.
	Release int64
	Signed  []byte
	// Minions are those to tell. Ones that are not connected here are told when
	// they are.
	Minions []job.MinionID
}

// updates are what is told now, and whom. They are replaced, and never changed.
type updates struct {
	frame   *agentpb.ToMinion
	minions map[job.MinionID]bool
}

// SetUpdate has minions told of a release: now, and in each session that
// they open here later, until SetUpdate is called again. In a session a minion is
// told of a release once, however often SetUpdate is called with it. The zero
// Update: nobody is told anything. It is called by one goroutine at a time.
func (h *Hub) SetUpdate(u Update) {
	next := &updates{minions: make(map[job.MinionID]bool, len(u.Minions))}
	if last := h.updates.Load(); last != nil && last.frame.GetUpdate().GetRelease() == u.Release && bytes.Equal(last.frame.GetUpdate().GetSigned(), u.Signed) {
		next.frame = last.frame
	} else {
		next.frame = &agentpb.ToMinion{Body: &agentpb.ToMinion_Update{Update: &agentpb.Update{Signed: u.Signed, Release: u.Release}}}
	}
	for _, id := range u.Minions {
		next.minions[id] = true
	}
	// Before sessions are looked at: one that opens meanwhile looks itself.
	h.updates.Store(next)
	for _, id := range u.Minions {
		c := h.channelOf(id, false)
		if c == nil {
			continue
		}
		if s := c.session; s != nil {
			h.tellUpdate(s)
			h.kick(c)
		}
		c.mu.Unlock()
	}
}

// tellUpdate has a session tell its minion of the release, if that is due. The
// caller holds the channel's mutex.
func (h *Hub) tellUpdate(s *session) {
	u := h.updates.Load()
	if u == nil || !u.minions[s.c.id] || s.told == u.frame {
		return
	}
	s.told = u.frame
	s.control = append(s.control, u.frame)
}
