package cluster

import (
	"sync/atomic"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// Group is a group as a node sees it. It is never changed.
type Group struct {
	Key  job.Key
	Spec job.GroupSpec
	Mode mode.Mode
	// Rev is the mod revision of the group's key.
	Rev int64
}

// groups are the groups by their shards, as of rev.
type groups struct {
	wake    func()
	stored  *etcdkv.Map[etcdkv.StoredGroup]
	byShard atomic.Pointer[map[job.ShardID]*Group]
	rev     atomic.Int64
}

func (g *groups) follow(f *feed, keys etcdkv.Keys) {
	g.wake = f.Wake
	g.byShard.Store(&map[job.ShardID]*Group{})
	g.stored = follow(f, keys.Groups(), etcdkv.Decode[etcdkv.StoredGroup], g.onGroups)
}

func (g *groups) onGroups() {
	entries, rev := g.stored.Snapshot()
	view := make(map[job.ShardID]*Group, len(entries))
	for _, e := range entries {
		m, ok := mode.Find(e.Value.Spec.Mode)
		if !ok { // of a newer release: any place will do until it is here
			m, _ = mode.Find(job.DefaultMode)
		}
		view[e.Value.Shard] = &Group{Key: e.Value.Key(), Spec: e.Value.Spec, Mode: m, Rev: e.ModRevision}
	}
	g.SetGroups(view, rev)
	g.wake()
}

// SetGroups puts groups, by their shards and as of a revision, in the place of what is
// in view.
func (g *groups) SetGroups(groups map[job.ShardID]*Group, rev int64) {
	g.byShard.Store(&groups)
	g.rev.Store(rev)
}

// Groups returns the groups by their shards.
func (g *groups) Groups() map[job.ShardID]*Group { return *g.byShard.Load() }

// GroupsRev returns as of which revision groups are in view.
func (g *groups) GroupsRev() int64 { return g.rev.Load() }

// Group returns the group whose shard it is, or nil.
func (g *groups) Group(s job.ShardID) *Group { return g.Groups()[s] }
