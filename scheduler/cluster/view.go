package cluster

import (
	"context"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/plan"
)

// View is a node's view of the cluster: who is alive, who owns what, and what
// operators and groups say about it. Its methods may be called by many goroutines;
// before Synced they know nobody. What they return must not be changed.
type View struct {
	client *clientv3.Client
	keys   etcdkv.Keys
	shards int
	// sources are the prefixes that are followed.
	sources []source

	members      *etcdkv.Map[etcdkv.Member]
	owners       *etcdkv.Map[etcdkv.Owner]
	groups       *etcdkv.Map[etcdkv.StoredGroup]
	drains       *etcdkv.Map[etcdkv.Drain]
	overrides    *etcdkv.Map[etcdkv.Override]
	lines        *etcdkv.Map[etcdkv.Place]
	healths      *etcdkv.Map[etcdkv.Health]
	paused       *etcdkv.Map[etcdkv.StoredPause]
	dependencies *etcdkv.Map[etcdkv.Dependency]
	backfills    *etcdkv.Map[etcdkv.Backfill]
	calendars    *etcdkv.Map[plan.Calendar]
	asides       *etcdkv.Map[etcdkv.Aside]
	commanded    *etcdkv.Map[etcdkv.RunCommand]
	scripts      *etcdkv.Map[etcdkv.StoredScript]
	permits      *etcdkv.Map[etcdkv.Permits]

	// index is scripts by name, pauses are paused by what they are about, waiters
	// dependencies by the job that is waited for, commands to runs by shard, caps how many hold
	// permits, owned owners by shard, and grouped groups by shard. Each is made anew at
	// every change.
	index    atomic.Pointer[Scripts]
	pauses   atomic.Pointer[Pauses]
	waiters  atomic.Pointer[map[job.Key][]etcdkv.Dependency]
	commands atomic.Pointer[RunCommands]
	caps     atomic.Pointer[Caps]
	owned    atomic.Pointer[owners]
	grouped  atomic.Pointer[map[job.ShardID]*Group]
	// pausesRev and groupsRev are as of which revisions pauses and grouped are.
	pausesRev, groupsRev atomic.Int64

	// since is when the set of ready members changed last, in Unix nanoseconds.
	since   atomic.Int64
	ready   atomic.Pointer[[]job.NodeID]
	healthy atomic.Pointer[map[job.NodeID]int64]
	changed chan struct{}
}

// source is a prefix that is followed.
type source struct {
	run    func(context.Context) error
	synced <-chan struct{}
}

// follow has a prefix followed by a map.
func follow[T any](v *View, prefix string, decode func(key string, value []byte) (T, error), changed func()) *etcdkv.Map[T] {
	m := etcdkv.NewMap(decode, changed)
	v.sources = append(v.sources, source{
		run:    func(ctx context.Context) error { return m.Run(ctx, v.client, prefix) },
		synced: m.Synced(),
	})
	return m
}

// New returns a View; Run keeps it current.
func New(client *clientv3.Client, keys etcdkv.Keys, meta etcdkv.Meta) *View {
	v := &View{client: client, keys: keys, shards: meta.Shards, changed: make(chan struct{}, 1)}
	v.index.Store(&Scripts{})
	v.pauses.Store(&Pauses{})
	v.waiters.Store(&map[job.Key][]etcdkv.Dependency{})
	v.commands.Store(&RunCommands{})
	v.caps.Store(&Caps{})
	v.owned.Store(&owners{})
	v.grouped.Store(&map[job.ShardID]*Group{})
	v.ready.Store(&[]job.NodeID{})
	v.healthy.Store(&map[job.NodeID]int64{})

	v.members = follow(v, keys.Members(), etcdkv.Decode[etcdkv.Member], v.onMembers)
	v.owners = follow(v, keys.Owners(), etcdkv.Decode[etcdkv.Owner], v.onOwners)
	v.groups = follow(v, keys.Groups(), etcdkv.Decode[etcdkv.StoredGroup], v.onGroups)
	v.drains = follow(v, keys.Drains(), etcdkv.Decode[etcdkv.Drain], v.Wake)
	v.overrides = follow(v, keys.Overrides(), etcdkv.Decode[etcdkv.Override], v.Wake)
	v.lines = follow(v, keys.Lines(), etcdkv.Decode[etcdkv.Place], v.Wake)
	v.healths = follow(v, keys.Healths(), etcdkv.Decode[etcdkv.Health], v.onHealths)
	v.paused = follow(v, keys.Pauses(), etcdkv.Decode[etcdkv.StoredPause], v.onPauses)
	v.dependencies = follow(v, keys.Dependencies(), etcdkv.Decode[etcdkv.Dependency], v.onDependencies)
	v.backfills = follow(v, keys.Backfills(), etcdkv.Decode[etcdkv.Backfill], nil)
	v.calendars = follow(v, keys.Calendars(), newCalendar, v.Wake)
	v.asides = follow(v, keys.Asides(), etcdkv.Decode[etcdkv.Aside], nil)
	v.commanded = follow(v, keys.RunCommands(), etcdkv.Decode[etcdkv.RunCommand], v.onCommands)
	v.scripts = follow(v, keys.Scripts(), etcdkv.Decode[etcdkv.StoredScript], v.onScripts)
	v.permits = follow(v, keys.Permits(), etcdkv.Decode[etcdkv.Permits], v.onPermits)
	return v
}

// Run keeps the view current until ctx ends.
func (v *View) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range v.sources {
		g.Go(func() error { return s.run(ctx) })
	}
	return g.Wait()
}

// Synced reports whether everything has been read.
func (v *View) Synced() bool {
	for _, s := range v.sources {
		select {
		case <-s.synced:
		default:
			return false
		}
	}
	return true
}

// Changed has something to receive when something has changed that ownership hangs
// on, or Wake was called.
func (v *View) Changed() <-chan struct{} { return v.changed }

// Wake has ownership looked at. It does not block.
func (v *View) Wake() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// Reread has views of pauses, groups and calendars listed anew, on another
// connection. It does not block.
func (v *View) Reread(pauses, groups, calendars bool) {
	if pauses {
		v.paused.Reread()
	}
	if groups {
		v.groups.Reread()
	}
	if calendars {
		v.calendars.Reread()
	}
}

func (v *View) onDependencies() {
	entries, _ := v.dependencies.Snapshot()
	view := make(map[job.Key][]etcdkv.Dependency, len(entries))
	for _, e := range entries {
		view[e.Value.From] = append(view[e.Value.From], e.Value)
	}
	v.waiters.Store(&view)
}

// Waiters returns the dependencies to the jobs that wait for ends of a job's runs.
func (v *View) Waiters(of job.Key) []etcdkv.Dependency { return (*v.waiters.Load())[of] }

// Backfills returns the backfills by key.
func (v *View) Backfills() map[string]etcdkv.Entry[etcdkv.Backfill] {
	entries, _ := v.backfills.Snapshot()
	return entries
}

// Aside returns the record that a job is set aside.
func (v *View) Aside(key job.Key) (etcdkv.Aside, bool) {
	entries, _ := v.asides.Snapshot()
	e, ok := entries[v.keys.Aside(key)]
	return e.Value, ok
}

// Drained reports whether an operator wants the node to hold no shard.
func (v *View) Drained(n job.NodeID) bool {
	entries, _ := v.drains.Snapshot()
	_, ok := entries[v.keys.Drain(n)]
	return ok
}

// Override returns what an operator decided about a shard.
func (v *View) Override(s job.ShardID) (etcdkv.Entry[etcdkv.Override], bool) {
	entries, _ := v.overrides.Snapshot()
	e, ok := entries[v.keys.Override(s)]
	return e, ok
}
