package agentpush

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
)

// presence packs the minions connected here into buckets and writes those that
// have changed: at most one write per bucket and PresenceEvery, however many
// minions come and go.
type presence struct {
	*base
	registry Registry
	wake     chan struct{}

	mu sync.Mutex
	// mu guards what follows.

	sessions map[job.MinionID]Present
	bucketOf map[job.MinionID]int
	buckets  []map[job.MinionID]struct{}
	// room are the buckets that have room for more.
	room  []int
	dirty map[int]struct{}
}

func newPresence(b *base, r Registry) *presence {
	return &presence{
		base: b, registry: r, wake: make(chan struct{}, 1), sessions: map[job.MinionID]Present{},
		bucketOf: map[job.MinionID]int{}, dirty: map[int]struct{}{},
	}
}

// add notes that the minion is connected here.
func (p *presence) add(m Present) {
	id := m.ID
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions[id] = m
	b, ok := p.bucketOf[id]
	if !ok {
		if len(p.room) == 0 {
			p.room = append(p.room, len(p.buckets))
			p.buckets = append(p.buckets, map[job.MinionID]struct{}{})
		}
		last := len(p.room) - 1
		b = p.room[last]
		p.bucketOf[id] = b
		p.buckets[b][id] = struct{}{}
		if len(p.buckets[b]) == bucketSize {
			p.room = p.room[:last]
		}
	}
	p.touch(b)
}

// update notes that something has changed about a minion's session here.
func (p *presence) update(m Present) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.bucketOf[m.ID]; ok && p.sessions[m.ID].Session == m.Session {
		p.sessions[m.ID] = m
		p.touch(b)
	}
}

// remove notes that the session has ended.
func (p *presence) remove(id job.MinionID, session int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.bucketOf[id]
	if !ok || p.sessions[id].Session != session {
		return
	}
	delete(p.sessions, id)
	delete(p.bucketOf, id)
	if len(p.buckets[b]) == bucketSize {
		p.room = append(p.room, b)
	}
	delete(p.buckets[b], id)
	p.touch(b)
}

// republish has the presence of all minions here written again: what was written
// until now has gone, or will go, with a lease that the node has lost. Nothing
// else may write it: of two writes at once the older may come last.
func (p *presence) republish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for b := range p.buckets {
		p.touch(b)
	}
}

// touch has a bucket written. The caller holds mu.
func (p *presence) touch(bucket int) {
	p.dirty[bucket] = struct{}{}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take removes and returns the numbers of changed buckets.
func (p *presence) take() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Sorted(maps.Keys(p.dirty))
	clear(p.dirty)
	return out
}

// content returns a bucket as it is now, sorted.
func (p *presence) content(bucket int) []Present {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Present, 0, len(p.buckets[bucket]))
	for id := range p.buckets[bucket] {
		out = append(out, p.sessions[id])
	}
	slices.SortFunc(out, func(a, b Present) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}

// run writes changed buckets until ctx is done. A bucket that cannot be written
// is tried again.
func (p *presence) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		pause.Reset(p.cfg.PresenceEvery)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		for _, b := range p.take() {
			if err := p.registry.Present(ctx, b, p.content(b)); err != nil {
				if ctx.Err() != nil {
					return
				}
				p.log.Warn("presence not written, will be tried again", zap.Int("bucket", b), zap.Error(err))
				p.mu.Lock()
				p.touch(b)
				p.mu.Unlock()
			}
		}
	}
}
