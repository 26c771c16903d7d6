package agentpush

import (
	"maps"
	"slices"
	"sync"

	"github.com/carillon-cron/carillon/job"
)

// channels are those of the minions that are connected here, or for which
// messages wait here.
type channels struct {
	topics *topics

	mu sync.RWMutex
	// mu guards byID.
	byID map[job.MinionID]*channel
}

func newChannels(depth int) *channels {
	return &channels{topics: newTopics(depth), byID: map[job.MinionID]*channel{}}
}

// get returns the minion's channel, locked. Without create it returns nil
// when there is none.
func (cs *channels) get(id job.MinionID, create bool) *channel {
	for {
		cs.mu.RLock()
		c := cs.byID[id]
		cs.mu.RUnlock()
		if c == nil {
			if !create {
				return nil
			}
			cs.mu.Lock()
			if c = cs.byID[id]; c == nil {
				c = &channel{id: id, topic: cs.topics.topic()}
				cs.byID[id] = c
			}
			cs.mu.Unlock()
		}
		c.mu.Lock()
		if !c.gone {
			return c
		}
		c.mu.Unlock()
	}
}

// forget drops the channel when nothing needs it. The caller holds neither lock.
func (cs *channels) forget(c *channel) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil && c.topic.len() == 0 && !c.gone {
		c.gone = true
		delete(cs.byID, c.id)
	}
}

func (cs *channels) all() []*channel {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	return slices.AppendSeq(make([]*channel, 0, len(cs.byID)), maps.Values(cs.byID))
}

// some returns n channels at most: of many, any are as good as others.
func (cs *channels) some(n int) []*channel {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	out := make([]*channel, 0, min(n, len(cs.byID)))
	for _, c := range cs.byID {
		if len(out) == n {
			break
		}
		out = append(out, c)
	}
	return out
}
