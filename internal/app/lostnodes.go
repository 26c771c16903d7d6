package app

import (
	"context"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/job"
)

// lostEvery is how often it is looked which nodes are lost.
const lostEvery = 200 * time.Millisecond

// presence is where minions are connected, by what other nodes have written. Of a node
// that is lost (most of all nodes do not reach it) that is not believed, or tasks would be
// sent by way of it until its lease has ended.
type presence struct {
	inv interface {
		SetPresence(node job.NodeID, bucket int, minions []agentpush.Present)
	}

	mu   sync.Mutex // guards what follows
	told map[job.NodeID]map[int][]agentpush.Present
	lost map[job.NodeID]bool
}

// set takes what a node has written; no minions: it has deleted that.
func (p *presence) set(node job.NodeID, bucket int, minions []agentpush.Present) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told == nil {
		p.told, p.lost = map[job.NodeID]map[int][]agentpush.Present{}, map[job.NodeID]bool{}
	}
	if p.told[node] == nil {
		p.told[node] = map[int][]agentpush.Present{}
	}
	p.told[node][bucket] = minions
	if minions == nil {
		delete(p.told[node], bucket)
	}
	if !p.lost[node] {
		p.inv.SetPresence(node, bucket, minions)
	}
}

// look looks which nodes are lost.
func (p *presence) look(isLost func(job.NodeID) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for node, buckets := range p.told {
		is := isLost(node)
		if is == p.lost[node] {
			continue
		}
		p.lost[node] = is
		for bucket, minions := range buckets {
			if is {
				minions = nil
			}
			p.inv.SetPresence(node, bucket, minions)
		}
		if len(buckets) == 0 {
			delete(p.told, node)
			delete(p.lost, node)
		}
	}
}

// run looks until ctx ends.
func (p *presence) run(ctx context.Context, isLost func(job.NodeID) bool) error {
	t := time.NewTicker(lostEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			p.look(isLost)
		}
	}
}
