package agentpush

import (
	"bytes"
	"sync/atomic"

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
type announcement struct {
	frame   *agentpb.ToMinion
	minions map[job.MinionID]bool
}

// updates tells minions of a release.
type updates struct {
	channels *channels
	pumps    *pumps
	now      atomic.Pointer[announcement]
}

// SetUpdate has minions told of a release: now, and in each session that
// they open here later, until SetUpdate is called again. In a session a minion is
// told of a release once, however often SetUpdate is called with it. The zero
// Update: nobody is told anything. It is called by one goroutine at a time.
func (us *updates) set(u Update) {
	next := &announcement{minions: make(map[job.MinionID]bool, len(u.Minions))}
	if last := us.now.Load(); last != nil && last.frame.GetUpdate().GetRelease() == u.Release && bytes.Equal(last.frame.GetUpdate().GetSigned(), u.Signed) {
		next.frame = last.frame
	} else {
		next.frame = &agentpb.ToMinion{Body: &agentpb.ToMinion_Update{Update: &agentpb.Update{Signed: u.Signed, Release: u.Release}}}
	}
	for _, id := range u.Minions {
		next.minions[id] = true
	}
	// Before sessions are looked at: one that opens meanwhile looks itself.
	us.now.Store(next)
	for _, id := range u.Minions {
		c := us.channels.get(id, false)
		if c == nil {
			continue
		}
		if s := c.session; s != nil {
			us.tell(s)
			us.pumps.kick(c)
		}
		c.mu.Unlock()
	}
}

// tell has a session tell its minion of the release, if that is due. The
// caller holds the channel's mutex.
func (us *updates) tell(s *session) {
	u := us.now.Load()
	if u == nil || !u.minions[s.c.id] || s.told == u.frame {
		return
	}
	s.told = u.frame
	s.control = append(s.control, u.frame)
}
